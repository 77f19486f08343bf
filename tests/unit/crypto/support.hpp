// Makes with OpenSSL directly what the library refuses to make, and checks what it makes with OpenSSL's own verifier.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <doctest/doctest.h>

#include "flops/core/error.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/key.hpp"

namespace flops::crypto::test {

template <auto Free>
struct Release {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Release<BIO_free>>;
using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using Request = std::unique_ptr<X509_REQ, Release<X509_REQ_free>>;
using Certificate = std::unique_ptr<X509, Release<X509_free>>;
using Crl = std::unique_ptr<X509_CRL, Release<X509_CRL_free>>;
using Store = std::unique_ptr<X509_STORE, Release<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Release<X509_STORE_CTX_free>>;

template <class T>
T must(Result<T> result) {
  INFO((result ? std::string() : result.error().what));
  REQUIRE(result.has_value());
  return std::move(*result);
}

inline Bio reader(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

inline std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

inline Certificate certificate(std::string_view pem) {
  Certificate result(PEM_read_bio_X509_AUX(reader(pem).get(), nullptr, nullptr, nullptr));
  REQUIRE(result);
  return result;
}

inline Crl crl(std::string_view pem) {
  Crl result(PEM_read_bio_X509_CRL(reader(pem).get(), nullptr, nullptr, nullptr));
  REQUIRE(result);
  return result;
}

// What X509_verify_cert says about `leaf` under the only root `ca`, for a purpose (X509_PURPOSE_...), strictly.
inline int verify(std::string_view ca, std::string_view leaf, int purpose, std::string_view crl_pem = {}) {
  const Store store(X509_STORE_new());
  const Certificate root = certificate(ca);
  const Certificate subject = certificate(leaf);
  REQUIRE(X509_STORE_add_cert(store.get(), root.get()) == 1);
  unsigned long flags = X509_V_FLAG_X509_STRICT;
  if (!crl_pem.empty()) {
    REQUIRE(X509_STORE_add_crl(store.get(), crl(crl_pem).get()) == 1);
    flags |= X509_V_FLAG_CRL_CHECK;
  }
  REQUIRE(X509_STORE_set_flags(store.get(), flags) == 1);
  const StoreContext context(X509_STORE_CTX_new());
  REQUIRE(X509_STORE_CTX_init(context.get(), store.get(), subject.get(), nullptr) == 1);
  REQUIRE(X509_STORE_CTX_set_purpose(context.get(), purpose) == 1);
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

// The same of a chain, leaf first, with a revocation list (empty: none) for the leaf's issuer, as a broker does it.
inline int verify_chain(std::string_view anchor, std::string_view chain, std::string_view crl_pem) {
  const Store store(X509_STORE_new());
  REQUIRE(X509_STORE_add_cert(store.get(), certificate(anchor).get()) == 1);
  if (!crl_pem.empty()) {
    REQUIRE(X509_STORE_add_crl(store.get(), crl(crl_pem).get()) == 1);
    REQUIRE(X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK) == 1);
  }
  const auto free_all = [](STACK_OF(X509) * all) { sk_X509_pop_free(all, X509_free); };
  const std::unique_ptr<STACK_OF(X509), decltype(free_all)> others(sk_X509_new_null(), free_all);
  const auto in = reader(chain);
  const Certificate leaf(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  REQUIRE(leaf);
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    REQUIRE(sk_X509_push(others.get(), next) > 0);
  }
  const StoreContext context(X509_STORE_CTX_new());
  REQUIRE(X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), others.get()) == 1);
  REQUIRE(X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT) == 1);
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

// An authority under another one.
inline CertificateAuthority authority(const CertificateAuthority& above, const std::string& name) {
  const PrivateKey key = must(PrivateKey::generate());
  const std::string certificate = must(above.issue_authority(must(make_csr(key, name)), name));
  return must(CertificateAuthority::load(certificate, must(key.to_pem())));
}

inline std::string client_certificate(const CertificateAuthority& ca, const std::string& id) {
  const PrivateKey key = must(PrivateKey::generate());
  return must(ca.issue(must(make_csr(key, id)), {.common_name = id}));
}

}  // namespace flops::crypto::test
