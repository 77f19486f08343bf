#include "flops/coordinator/site_authority.hpp"

#include <csignal>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/key.hpp"
#include "state_lock.hpp"
#include "uplink_options.hpp"

namespace flops::coordinator {
namespace {

constexpr unsigned secret_mode = 0600;

struct Files {
  explicit Files(const std::filesystem::path& state)
      : key(state / "ca.key"), request(state / "ca.csr"), answer(state / "ca.new"), certificate(state / "ca.pem") {}
  std::filesystem::path key;
  std::filesystem::path request;
  std::filesystem::path answer;  // as it came from above
  std::filesystem::path certificate;
};

bool is_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
}

// As long as there is no certificate, nothing depends on a key: one that is damaged is made anew.
Result<crypto::PrivateKey> load_or_make_key(const std::filesystem::path& file) {
  if (is_there(file)) {
    auto pem = read_file(file);
    auto key = pem ? crypto::PrivateKey::from_pem(*pem) : Result<crypto::PrivateKey>(fail(pem.error()));
    if (key) {
      return key;
    }
    log::warn("ca", "{}: {}; making a new one", file.string(), key.error().what);
  }
  auto key = crypto::PrivateKey::generate();
  auto pem = key ? key->to_pem() : Result<std::string>(fail(key.error()));
  if (!pem) {
    return fail(pem.error());
  }
  if (auto written = replace_file(file, *pem, secret_mode); !written) {
    return fail(written.error());
  }
  return key;
}

Result<> write_request(const Files& files, const std::string& site) {
  auto key = load_or_make_key(files.key);
  auto csr = key ? crypto::make_csr(*key, site) : Result<std::string>(fail(key.error()));
  return csr ? replace_file(files.request, *csr) : Result<>(fail(csr.error()));
}

// False: there is no answer for this key yet.
Result<bool> take_answer(const Files& files) {
  if (!is_there(files.answer)) {
    return false;
  }
  auto key = read_file(files.key);
  auto certificate = key ? read_file(files.answer) : key;
  auto ca = certificate ? crypto::CertificateAuthority::load(*certificate, *key)
                        : Result<crypto::CertificateAuthority>(fail(certificate.error()));
  if (!ca) {
    log::warn("ca", "{}: {}; asking again", files.answer.string(), ca.error().what);
    return false;
  }
  if (auto written = replace_file(files.certificate, ca->trust_pem()); !written) {
    return fail(written.error());
  }
  std::error_code ignored;
  std::filesystem::remove(files.request, ignored);
  std::filesystem::remove(files.answer, ignored);
  log::info("ca", "this site has an authority of its own, under the fleet's");
  return true;
}

// True once the uplink is enrolled above; false when a signal came first.
Result<bool> join(const Config& config, const Files& files) {
  boost::asio::io_context loop(1);
  bool joined = false;
  bool done = false;
  uplink::ManagedUplinkOptions options = uplink_options(config, "");
  options.joining = {files.request, files.answer, [&] {
                       joined = true;
                       done = true;
                     }};
  auto started = uplink::ManagedUplink::start(loop.get_executor(), std::move(options));
  if (!started) {
    return fail(started.error());
  }
  const auto& uplink = *started;
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code error, int) {
    if (!error) {
      log::info("coordinator", "stopping");
      uplink->stop([&] { done = true; });
    }
  });
  while (!done) {
    loop.run_one();
  }
  return joined;
}

}  // namespace

Result<bool> await_authority(const Config& config) {
  const Files files(config.state_folder);
  if (config.parent.url.empty() || is_there(files.certificate)) {
    return true;
  }
  if (auto made = make_folder(config.state_folder, 0700); !made) {
    return fail(made.error(), "state.folder");
  }
  const auto lock = lock_state(config.state_folder);
  if (!lock) {
    return fail(lock.error());
  }
  if (auto taken = take_answer(files); !taken || *taken) {
    return taken;
  }
  log::info("ca", "asking {} for an authority of this site's own; devices are served after that", config.parent.url);
  auto asked = write_request(files, config.parent.device);
  auto joined = asked ? join(config, files) : Result<bool>(fail(asked.error()));
  if (!joined || !*joined) {
    return joined;
  }
  auto taken = take_answer(files);
  if (taken && !*taken) {
    return fail(ErrorKind::corrupt, "the certificate of this site's authority, from {}, cannot be used",
                config.parent.url);
  }
  return taken;
}

}  // namespace flops::coordinator
