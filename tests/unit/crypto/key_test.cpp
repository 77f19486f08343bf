#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "support.hpp"

using namespace flops;
using namespace flops::crypto;
using namespace flops::crypto::test;

namespace {

std::string write(X509_REQ* request) {
  const Bio bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_X509_REQ(bio.get(), request) == 1);
  return text_of(bio.get());
}

void add_name(X509_NAME* name, const char* field, const std::string& value) {
  REQUIRE(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                     static_cast<const unsigned char*>(static_cast<const void*>(value.data())),
                                     static_cast<int>(value.size()), -1, 0) == 1);
}

std::string csr_of(EVP_PKEY* key, std::initializer_list<std::string> names, bool hashes = true) {
  REQUIRE(key != nullptr);
  const Request request(X509_REQ_new());
  REQUIRE(X509_REQ_set_pubkey(request.get(), key) == 1);
  for (const std::string& name : names) {
    add_name(X509_REQ_get_subject_name(request.get()), "CN", name);
  }
  REQUIRE(X509_REQ_sign(request.get(), key, hashes ? EVP_sha256() : nullptr) > 0);
  return write(request.get());
}

Key curve(const char* name) {
  return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", name));
}
Key rsa(std::size_t bits) {
  return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits));
}

// P-256, but spelled out in parameters instead of named.
Key explicit_curve() {
  const std::unique_ptr<EVP_PKEY_CTX, Release<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  REQUIRE(EVP_PKEY_keygen_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context.get(), NID_X9_62_prime256v1) == 1);
  REQUIRE(EVP_PKEY_CTX_set_ec_param_enc(context.get(), OPENSSL_EC_EXPLICIT_CURVE) == 1);
  EVP_PKEY* key = nullptr;
  REQUIRE(EVP_PKEY_generate(context.get(), &key) == 1);
  return Key(key);
}

void check_refused(const std::string& pem, std::string_view reason) {
  const auto result = read_csr(pem);
  REQUIRE(!result.has_value());
  CHECK(result.error().kind == ErrorKind::permanent);
  INFO(result.error().what);
  CHECK(result.error().what.find(reason) != std::string::npos);
}

}  // namespace

TEST_CASE("key: a generated key survives its PEM form and is a P-256 key in PKCS#8") {
  const PrivateKey key = must(PrivateKey::generate());
  const std::string pem = must(key.to_pem());
  CHECK(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
  const PrivateKey again = must(PrivateKey::from_pem(pem));
  CHECK(EVP_PKEY_eq(key.native(), again.native()) == 1);
  CHECK(EVP_PKEY_is_a(again.native(), "EC") == 1);
  CHECK(EVP_PKEY_get_bits(again.native()) == 256);
  CHECK(EVP_PKEY_eq(key.native(), must(PrivateKey::generate()).native()) == 0);
}

TEST_CASE("key: what is not a private key is refused as corrupt") {
  const std::string pem = must(must(PrivateKey::generate()).to_pem());
  const Key encrypted_key = curve("P-256");
  const Bio encrypted(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PKCS8PrivateKey(encrypted.get(), encrypted_key.get(), EVP_aes_128_cbc(), "word", 4, nullptr,
                                        nullptr) == 1);
  struct Row {
    const char* name;
    std::string text;
  };
  const Row rows[] = {{"nothing", ""},
                      {"plain text", "hello"},
                      {"a truncated key", pem.substr(0, pem.size() / 2)},
                      {"a certificate request", must(make_csr(must(PrivateKey::generate()), "x"))},
                      {"an encrypted key", text_of(encrypted.get())},
                      {"a megabyte", std::string(1U << 20U, '-')}};
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = PrivateKey::from_pem(row.text);
      REQUIRE(!result.has_value());
      CHECK(result.error().kind == ErrorKind::corrupt);
    }
  }
}

TEST_CASE("csr: a request tells its name and recognises its key again") {
  const PrivateKey key = must(PrivateKey::generate());
  const Csr first = must(read_csr(must(make_csr(key, "device-1"))));
  const Csr second = must(read_csr(must(make_csr(key, "device-2"))));
  const Csr other = must(read_csr(must(make_csr(must(PrivateKey::generate()), "device-1"))));
  CHECK(first.common_name == "device-1");
  CHECK(second.common_name == "device-2");
  CHECK(first.public_key_digest.size() == 64);
  CHECK(first.public_key_digest == second.public_key_digest);
  CHECK(first.public_key_digest != other.public_key_digest);
}

TEST_CASE("csr: a name that does not fit is refused when making a request") {
  const PrivateKey key = must(PrivateKey::generate());
  CHECK(make_csr(key, std::string(64, 'a')).has_value());
  for (const std::string& name : {std::string(), std::string(65, 'a'), std::string("a\nb"), std::string("a\0b", 3)}) {
    const auto result = make_csr(key, name);
    REQUIRE(!result.has_value());
    CHECK(result.error().kind == ErrorKind::permanent);
  }
}

TEST_CASE("csr: strong keys of every allowed kind pass") {
  const Key ed25519(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  CHECK(must(read_csr(csr_of(curve("P-256").get(), {"d"}))).common_name == "d");
  CHECK(must(read_csr(csr_of(curve("P-384").get(), {"d"}))).common_name == "d");
  CHECK(must(read_csr(csr_of(ed25519.get(), {"d"}, false))).common_name == "d");
  CHECK(must(read_csr(csr_of(rsa(2048).get(), {"d"}))).common_name == "d");
}

TEST_CASE("csr: weak and foreign keys are refused") {
  SUBCASE("RSA with 1024 bits") {
    check_refused(csr_of(rsa(1024).get(), {"d"}), "too weak");
  }
  SUBCASE("a small curve") {
    check_refused(csr_of(curve("P-224").get(), {"d"}), "too weak");
  }
  SUBCASE("a curve of another family") {
    check_refused(csr_of(curve("secp256k1").get(), {"d"}), "too weak");
  }
  SUBCASE("a curve spelled out") {
    check_refused(csr_of(explicit_curve().get(), {"d"}), "too weak");
  }
}

TEST_CASE("csr: a request whose subject was exchanged after signing is refused") {
  const std::string pem = must(make_csr(must(PrivateKey::generate()), "device-1"));
  const Request request(PEM_read_bio_X509_REQ(reader(pem).get(), nullptr, nullptr, nullptr));
  REQUIRE(request);
  const std::unique_ptr<X509_NAME, Release<X509_NAME_free>> name(X509_NAME_new());
  add_name(name.get(), "CN", "device-2");
  REQUIRE(X509_REQ_set_subject_name(request.get(), name.get()) == 1);
  check_refused(write(request.get()), "not signed by its own key");
}

TEST_CASE("csr: a request with the key of somebody else is refused") {
  const std::string pem = must(make_csr(must(PrivateKey::generate()), "device-1"));
  const Request request(PEM_read_bio_X509_REQ(reader(pem).get(), nullptr, nullptr, nullptr));
  REQUIRE(request);
  REQUIRE(X509_REQ_set_pubkey(request.get(), curve("P-256").get()) == 1);
  check_refused(write(request.get()), "not signed by its own key");
}

TEST_CASE("csr: malformed requests are refused with a reason") {
  const Key key = curve("P-256");
  const std::string good = csr_of(key.get(), {"d"});
  SUBCASE("nothing") {
    check_refused("", "reading a certificate request");
  }
  SUBCASE("plain text") {
    check_refused("hello", "reading a certificate request");
  }
  SUBCASE("truncated") {
    check_refused(good.substr(0, good.size() - 60), "reading a certificate request");
  }
  SUBCASE("no common name") {
    check_refused(csr_of(key.get(), {}), "no common name");
  }
  SUBCASE("two common names") {
    check_refused(csr_of(key.get(), {"a", "b"}), "more than one common name");
  }
  SUBCASE("a control character in the name") {
    check_refused(csr_of(key.get(), {"a\x1b[2J"}), "control");
  }
  SUBCASE("a NUL in the name") {
    check_refused(csr_of(key.get(), {std::string("a\0b", 3)}), "control");
  }
  SUBCASE("more than 8 KiB") {
    check_refused(good + std::string(8192, '\n'), "at most 8192 bytes");
  }
}
