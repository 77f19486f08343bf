// TLS 1.3 for both sides: contexts, and what OpenSSL's verifier says in words that help.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/ssl/context.hpp>

#include "flops/core/error.hpp"

namespace flops::http {

// permanent when the chain or the key is bad, or they do not belong together.
[[nodiscard]] Result<std::shared_ptr<boost::asio::ssl::context>> server_context(std::string_view certificate_pem,
                                                                                std::string_view key_pem);

// Trusts what the one authority in `ca_pem` has issued itself; without `verify` trusts anybody. permanent when `ca_pem`
// is not one CA certificate.
[[nodiscard]] Result<std::shared_ptr<boost::asio::ssl::context>> client_context(std::string_view ca_pem, bool verify);

// Sets server name and, with `verify`, the name that the peer's certificate must have.
[[nodiscard]] Result<> expect_host(SSL* session, const std::string& host, bool verify);

// Of a failed handshake: denied when the peer's certificate was not accepted; nothing when it was not the reason.
[[nodiscard]] Result<> certificate_verdict(SSL* session, const std::string& host);

}  // namespace flops::http
