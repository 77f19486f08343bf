#include "flops/http/client.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <span>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <boost/beast/http.hpp>

#include "connection.hpp"
#include "flops/core/fd.hpp"
#include "flops/core/io.hpp"
#include "flops/core/version.hpp"
#include "tls.hpp"

namespace flops::http {
namespace {

namespace bhttp = boost::beast::http;

constexpr std::size_t kMaxRefusal = 64U << 10U;  // what is read of the text that explains a refused download
constexpr std::size_t kMaxShown = 500;

bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

// All but the body.
template <class Wanted>
Result<Wanted> make_header(std::string_view method, const Url& url, bool has_body, const ClientOptions& options) {
  const auto letter = [](unsigned char c) { return std::isupper(c) != 0; };
  if (method.empty() || !std::ranges::all_of(method, letter)) {
    return fail(ErrorKind::permanent, "an HTTP method is written in upper-case letters");
  }
  // Line breaks would let one text become several headers, or a second request.
  if (!printable(options.bearer) || !printable(options.content_type) || !printable(url.host) || !printable(url.port) ||
      !printable(url.path) || !url.path.starts_with('/') || url.path.find(' ') != std::string::npos) {
    return fail(ErrorKind::permanent, "the URL, the bearer token or the content type has characters that HTTP forbids");
  }
  Wanted message;
  message.version(11);
  message.method_string(method);
  message.target(url.path);
  message.set(bhttp::field::host, host_header(url));
  message.set(bhttp::field::user_agent, fmt::format("flops/{}", version));
  message.keep_alive(false);
  if (!options.bearer.empty()) {
    message.set(bhttp::field::authorization, "Bearer " + options.bearer);
  }
  if (has_body) {
    message.set(bhttp::field::content_type, options.content_type);
  }
  return message;
}

Result<Message> make_message(std::string_view method, const Url& url, std::string_view body,
                             const ClientOptions& options) {
  auto message = make_header<Message>(method, url, !body.empty(), options);
  if (message) {
    message->body() = body;
    message->prepare_payload();
  }
  return message;
}

Result<> store_body(Connection& connection, const std::filesystem::path& file, std::uint64_t max_bytes) {
  const std::string temporary = file.string() + ".part";
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating {}", temporary)));
  }
  auto stored = connection.read_into(
      [&](std::span<const std::byte> bytes) -> Result<> {
        auto written = write_all(fd.get(), bytes);
        return written ? written : fail(written.error(), temporary);
      },
      max_bytes);
  if (stored && ::fsync(fd.get()) != 0) {
    stored = fail(errno_error(errno, fmt::format("syncing {}", temporary)));
  }
  if (stored && ::rename(temporary.c_str(), file.c_str()) != 0) {
    stored = fail(errno_error(errno, fmt::format("renaming {} to {}", temporary, file.string())));
  }
  if (!stored) {
    ::unlink(temporary.c_str());
  }
  return stored;
}

Result<std::unique_ptr<Connection>> new_connection(const Url& url, const ClientOptions& options) {
  auto tls = client_context(options.ca_pem, options.verify);
  if (!tls) {
    return fail(tls.error());
  }
  return std::make_unique<Connection>(url, options, std::move(*tls));
}

Result<std::unique_ptr<Connection>> open_exchange(std::string_view method, const Url& url, std::string_view body,
                                                  const ClientOptions& options) {
  auto message = make_message(method, url, body, options);
  if (!message) {
    return fail(message.error());
  }
  auto connection = new_connection(url, options);
  if (!connection) {
    return connection;
  }
  if (auto exchanged = (*connection)->exchange(*message); !exchanged) {
    return fail(exchanged.error());
  }
  return connection;
}

// What a person should see of a server's text: one line without control characters.
std::string shown(std::string text) {
  text.resize(std::min(text.size(), kMaxShown));
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

ClientResponse without_body(const Connection& connection) {
  const auto& header = connection.header();
  return {.status = static_cast<int>(header.result_int()),
          .content_type = std::string(header[bhttp::field::content_type]),
          .body = {}};
}

Result<ClientResponse> with_body(Connection& connection, std::size_t limit) {
  ClientResponse response = without_body(connection);
  auto text = connection.read_text(limit);
  if (!text) {
    return fail(text.error());
  }
  response.body = std::move(*text);
  return response;
}

Result<ClientResponse> blocking_request(std::string_view method, const Url& url, std::string_view body,
                                        const ClientOptions& options) {
  auto connection = open_exchange(method, url, body, options);
  if (!connection) {
    return fail(connection.error());
  }
  return method == "HEAD" ? without_body(**connection) : with_body(**connection, options.max_response);
}

Result<ClientResponse> blocking_upload(std::string_view method, const Url& url, std::uint64_t bytes,
                                       const BodySource& source, const ClientOptions& options) {
  auto message = make_header<StreamedMessage>(method, url, true, options);
  auto connection = message ? new_connection(url, options) : fail(message.error());
  if (!connection) {
    return fail(connection.error());
  }
  if (auto exchanged = (*connection)->exchange(*message, bytes, source); !exchanged) {
    return fail(exchanged.error());
  }
  return with_body(**connection, options.max_response);
}

Result<ClientResponse> blocking_fetch(const Url& url, std::uint64_t max_bytes, const BodySink& sink,
                                      const ClientOptions& options) {
  auto connection = open_exchange("GET", url, "", options);
  if (!connection) {
    return fail(connection.error());
  }
  ClientResponse response = without_body(**connection);
  if (response.status != 200) {
    return with_body(**connection, options.max_response);
  }
  if (auto read = (*connection)->read_into(sink, max_bytes); !read) {
    return fail(read.error());
  }
  return response;
}

Result<> blocking_download(const Url& url, const std::filesystem::path& file, std::uint64_t max_bytes,
                           const ClientOptions& options) {
  auto connection = open_exchange("GET", url, "", options);
  if (!connection) {
    return fail(connection.error());
  }
  const unsigned status = (*connection)->header().result_int();
  if (status == 200) {
    return store_body(**connection, file, max_bytes);
  }
  const auto text = (*connection)->read_text(kMaxRefusal);
  return fail(ErrorKind::permanent, "downloading {} from {}: status {}: {}", url.path, host_header(url), status,
              text ? shown(*text) : text.error().what);
}

}  // namespace

Result<ClientResponse> request(std::string_view method, const Url& url, std::string_view body,
                               const ClientOptions& options) {
  try {
    return blocking_request(method, url, body, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "HTTP request to {}: {}", url.host, error.what());
  }
}

Result<ClientResponse> upload(std::string_view method, const Url& url, std::uint64_t bytes, const BodySource& source,
                              const ClientOptions& options) {
  try {
    return blocking_upload(method, url, bytes, source, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "HTTP upload to {}: {}", url.host, error.what());
  }
}

Result<ClientResponse> fetch(const Url& url, std::uint64_t max_bytes, const BodySink& sink,
                             const ClientOptions& options) {
  try {
    return blocking_fetch(url, max_bytes, sink, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "HTTP request to {}: {}", url.host, error.what());
  }
}

Result<> download(const Url& url, const std::filesystem::path& file, std::uint64_t max_bytes,
                  const ClientOptions& options) {
  try {
    return blocking_download(url, file, max_bytes, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "HTTP download from {}: {}", url.host, error.what());
  }
}

}  // namespace flops::http
