// flops-agent diag: what somebody else needs to find out what is wrong.
#include <cstdlib>
#include <fstream>

#include <sys/utsname.h>

#include "flops/agent_daemon/daemon.hpp"
#include "flops/agent_doctor/doctor.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/core/version.hpp"
#include "flops/process/child.hpp"
#include "time_seen.hpp"

namespace flops::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds patience{30};
constexpr std::size_t max_copied = std::size_t{256} * 1024;
constexpr std::size_t max_log = std::size_t{4} * 1024 * 1024;

// Gone with the object, with all that is in it.
class Scratch {
 public:
  explicit Scratch(const fs::path& in) {
    std::string name = (in / ".flops-diag-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) {
      folder_ = name;
    }
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
};

// Parts of /proc and /etc that say what kind of machine this is.
std::string machine_text(const Config& config) {
  utsname names{};
  (void)::uname(&names);
  std::string text =
      fmt::format("flops-agent {}\n{} {} {} {}\n", version, names.sysname, names.release, names.version, names.machine);
  for (const char* file : {"/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/cpuinfo",
                           "/proc/pressure/memory", "/sys/firmware/devicetree/base/model"}) {
    std::ifstream in(file);
    std::string content(max_copied, '\0');
    in.read(content.data(), static_cast<std::streamsize>(content.size()));
    content.resize(static_cast<std::size_t>(in.gcount()));
    text += fmt::format("\n== {}\n{}\n", file, content);
  }
  // Names and sizes, not what is in the files.
  text += fmt::format("\n== {}\n", config.state_folder.string());
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(config.state_folder, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code no_size;
    const auto size = entry->is_regular_file(no_size) ? entry->file_size(no_size) : 0;
    text += fmt::format("{:>12}  {}\n", size, entry->path().string());
  }
  return text;
}

void copy_text(const fs::path& from, const fs::path& to) {
  const auto content = read_file(from, max_copied);
  (void)replace_file(to, content ? *content : content.error().what + "\n");
}

}  // namespace

std::int64_t newest_time_seen(const Config& config) {
  std::error_code error;
  if (!fs::exists(config.state_folder / "agent.db", error)) {
    return 0;
  }
  auto storage = Storage::open(config.state_folder, Damaged::refuse, unix_ms(SystemClock().wall()));
  return storage ? stored_time_seen(*storage) : 0;
}

std::string journal_lines() {
  std::error_code error;
  const Scratch scratch(fs::temp_directory_path(error));
  const fs::path file = scratch.folder() / "log";
  process::Command command;
  command.program = "journalctl";
  command.arguments = {"--unit", "flops-agent", "--lines", "2000", "--no-pager", "--output", "short-iso"};
  command.log_file = file;
  const auto ended = scratch.folder().empty()
                         ? Result<process::Exit>(fail(ErrorKind::resource, "no place for a temporary file"))
                         : process::run_to_end(command, patience);
  const auto lines = ended ? read_file(file, max_log) : Result<std::string>(fail(ended.error()));
  return lines ? *lines : fmt::format("no log lines: {}\n", lines.error().what);
}

Result<fs::path> pack_diagnosis(const Config& config, const fs::path& config_file, const fs::path& folder,
                                const std::string& log) {
  std::string stamp = iso8601(unix_ms(SystemClock().wall())).substr(0, 19);
  std::erase_if(stamp, [](char c) { return c == '-' || c == ':'; });
  const std::string name = fmt::format("flops-diag-{}-{}", config.device, stamp);
  const Scratch scratch(folder);
  const fs::path inside = scratch.folder() / name;
  std::error_code error;
  if (scratch.folder().empty() || !fs::create_directory(inside, error)) {
    return fail(ErrorKind::permanent, "{} cannot be written: name another folder with --output", folder.string());
  }
  const auto status = status_text(config);
  const auto identity = load_identity(config.state_folder);
  for (const auto& [file, content] :
       {std::pair<const char*, std::string>("doctor.txt", to_text(examine(config, newest_time_seen(config)))),
        {"status.txt", status ? *status : status.error().what + "\n"},
        {"configuration.toml", config_reference(config)},
        {"log.txt", log},
        {"machine.txt", machine_text(config)}}) {
    if (auto written = replace_file(inside / file, content); !written) {
      return fail(written.error());
    }
  }
  copy_text(config_file, inside / "agent.toml");
  if (identity) {
    copy_text(identity->certificate_file, inside / "certificate.pem");
    copy_text(identity->ca_file, inside / "ca.pem");
  }
  fs::path archive = folder / (name + ".tar.gz");
  process::Command command;
  command.program = "tar";
  command.arguments = {"-czf", archive.string(), "-C", scratch.folder().string(), name};
  const auto packed = process::run_to_end(command, patience);
  if (!packed || packed->signalled || packed->code != 0) {
    return fail(ErrorKind::permanent, "packing {}: tar {}", archive.string(),
                packed ? packed->describe() : packed.error().what);
  }
  return archive;
}

}  // namespace flops::agent
