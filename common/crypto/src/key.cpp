#include "flops/crypto/key.hpp"

#include <utility>

#include <openssl/pem.h>

#include "openssl.hpp"

namespace flops::crypto {
namespace {

constexpr std::size_t kMaxKeyPem = 16U << 10U;

// Without this OpenSSL asks on the terminal for the password of an encrypted key, and a daemon hangs.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) {
  return -1;
}

}  // namespace

Result<PrivateKey> PrivateKey::generate() {
  KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  if (!key) {
    return openssl_failure(ErrorKind::permanent, "generating a P-256 key");
  }
  return PrivateKey(std::shared_ptr<EVP_PKEY>(std::move(key)));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  if (pem.size() > kMaxKeyPem) {
    return fail(ErrorKind::corrupt, "a private key in PEM is at most {} bytes, not {}", kMaxKeyPem, pem.size());
  }
  const BioPtr reader = memory_reader(pem);
  KeyPtr key(reader ? PEM_read_bio_PrivateKey(reader.get(), nullptr, no_password, nullptr) : nullptr);
  if (!key) {
    return openssl_failure(ErrorKind::corrupt, "reading a private key (unencrypted PEM is expected)");
  }
  return PrivateKey(std::shared_ptr<EVP_PKEY>(std::move(key)));
}

Result<std::string> PrivateKey::to_pem() const {
  const BioPtr writer(BIO_new(BIO_s_mem()));
  if (!writer || PEM_write_bio_PKCS8PrivateKey(writer.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_failure(ErrorKind::permanent, "writing a private key");
  }
  return written_text(writer.get());
}

}  // namespace flops::crypto
