#include <fstream>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/json/parse.hpp>

#include "flops/crypto/certificate.hpp"
#include "flops/test/temporary_folder.hpp"
#include "program.hpp"

namespace flops::cli_test {
namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

void write(const std::filesystem::path& file, std::string_view content, bool secret = false) {
  std::ofstream(file) << content;
  if (secret) {
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
}

// A port on which nobody listens.
std::uint16_t closed_port() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

TEST_CASE("flopsctl: help names the commands and the exit codes") {
  const Ended ended = run({"--help"});
  CHECK(ended.status == 0);
  for (const char* part : {"token", "device", "run", "model", "dataset", "table|json", "Exit codes", "78"}) {
    CAPTURE(part);
    CHECK(has(ended.out, part));
  }
  CHECK(ended.err.empty());
  CHECK(has(run({"run", "start", "--help"}).out, "--min-fit"));
  CHECK(has(run({"--version"}).out, "0.1.0"));
}

TEST_CASE("flopsctl: wrong usage exits with 2 and says what is wrong") {
  struct Row {
    const char* name;
    std::vector<std::string> arguments;
    const char* message;
  };
  const std::vector<Row> rows{
      {"no command", {}, "subcommand is required"},
      {"no subcommand", {"run"}, "subcommand is required"},
      {"unknown command", {"runs"}, "subcommand is required"},
      {"unknown option", {"run", "list", "--wide"}, "--wide"},
      {"unknown format", {"run", "list", "-o", "yaml"}, "yaml"},
      {"missing option", {"run", "start", "--model", "m"}, "--data is required"},
      {"missing argument", {"device", "show"}, "ID is required"},
      {"number out of range", {"run", "start", "--model", "m", "--data", "d", "--rounds", "0"}, "--rounds"},
      {"not a number", {"run", "start", "--model", "m", "--data", "d", "--lr", "fast"}, "--lr"},
      {"optimiser that does not exist", {"run", "start", "--model", "m", "--data", "d", "--optimizer", "lion"}, "lion"},
      {"id that is none", {"run", "show", "../tokens"}, "'../tokens' is no id"},
      {"duration without unit", {"token", "create", "--expires", "24"}, "24h or 7d"},
      {"duration that overflows", {"token", "create", "--expires", "999999999999999999d"}, "24h or 7d"},
      {"partition that does not exist",
       {"dataset", "partition", "--source", "x", "--devices", "2", "--partition", "sorted", "--out", "y"},
       "use iid, dirichlet:A"},
      {"no devices", {"dataset", "partition", "--source", "x", "--devices", "0", "--out", "y"}, "--devices"},
      {"address without https", {"run", "list", "--coordinator", "http://localhost"}, "--coordinator: "},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const Ended ended = run(row.arguments);
      CHECK(ended.status == 2);
      CHECK(has(ended.err, row.message));
      CHECK(ended.out.empty());
    }
  }
}

TEST_CASE("flopsctl: a missing setting exits with 78 and says where to write it") {
  const Ended nothing = run({"run", "list"});
  CHECK(nothing.status == 78);
  CHECK(has(nothing.err, "no coordinator configured: pass --coordinator URL"));

  const test::TemporaryFolder home;
  const Ended no_ca = run({"run", "list", "--coordinator", "https://localhost"}, {{"HOME", home.path().string()}});
  CHECK(no_ca.status == 78);
  CHECK(has(no_ca.err, "pass --ca FILE"));
  CHECK(has(no_ca.err, home.path().string() + "/.config/flops/flopsctl.toml"));
}

TEST_CASE("flopsctl: a wrong configuration exits with 78, all problems with file and line") {
  const test::TemporaryFolder folder;
  const auto file = folder / "flopsctl.toml";
  write(file, "coordinator = \"ftp://x\"\ncertificate = 7\nca = 1\n");
  const Ended ended = run({"run", "list", "--config", file.string()});
  CHECK(ended.status == 78);
  CHECK(has(ended.err, file.string() + ":1: 'coordinator'"));
  CHECK(has(ended.err, file.string() + ":2: unknown key 'certificate'"));
  CHECK(has(ended.err, file.string() + ":3: 'ca'"));

  const Ended named = run({"run", "list"}, {{"FLOPSCTL_CONFIG", file.string()}});
  CHECK(named.status == 78);
  CHECK(has(named.err, file.string() + ":1:"));

  const Ended missing = run({"run", "list", "--config", "/nonexistent/flopsctl.toml"});
  CHECK(missing.status == 78);
  CHECK(has(missing.err, "/nonexistent/flopsctl.toml"));
}

TEST_CASE("flopsctl: a token file must hold one word") {
  const test::TemporaryFolder folder;
  write(folder / "ca.pem", "x");
  for (const char* content : {"", " \n", "two words", "line\x1b[0m"}) {
    CAPTURE(content);
    write(folder / "token", content, true);
    const Ended ended = run({"run", "list", "--coordinator", "https://localhost", "--ca", (folder / "ca.pem").string(),
                             "--token-file", (folder / "token").string()});
    CHECK(ended.status == 78);
    CHECK(has(ended.err, "expected one token"));
  }
}

TEST_CASE("flopsctl: an unreachable coordinator exits with 5 and names the address") {
  const test::TemporaryFolder folder;
  const auto authority = crypto::CertificateAuthority::create("test fleet");
  REQUIRE(authority);
  write(folder / "ca.pem", authority->certificate_pem());
  write(folder / "token", "secret\n", true);
  const std::string url = "https://127.0.0.1:" + std::to_string(closed_port());
  write(folder / "flopsctl.toml", "coordinator = \"" + url + "\"\nca = \"ca.pem\"\ntoken_file = \"token\"\n");
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"run", "list"}, {"run", "watch", "run-1"}, {"device", "list"}, {"token", "create"}, {"model", "list"}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--config", (folder / "flopsctl.toml").string()});
    const Ended ended = run(arguments);
    CHECK(ended.status == 5);
    CHECK(has(ended.err, "cannot reach the coordinator at " + url));
    CHECK(ended.out.empty());
  }
}

TEST_CASE("flopsctl: a token file that others can read is warned about") {
  const test::TemporaryFolder folder;
  write(folder / "ca.pem", "x");
  write(folder / "token", "secret\n");
  std::filesystem::permissions(folder / "token", std::filesystem::perms(0644));
  const Ended ended = run({"run", "list", "--coordinator", "https://127.0.0.1:" + std::to_string(closed_port()), "--ca",
                           (folder / "ca.pem").string(), "--token-file", (folder / "token").string()});
  CHECK(has(ended.err, "chmod 600"));
  CHECK_FALSE(has(ended.err, "secret"));
}

// Two classes, eight train and four test samples of one pixel.
void write_dataset(const std::filesystem::path& folder) {
  const auto idx = [](unsigned char count, bool images) {
    std::string out{'\0', '\0', '\x08', images ? '\x03' : '\x01', '\0', '\0', '\0', static_cast<char>(count)};
    out += images ? std::string("\0\0\0\1\0\0\0\1", 8) : std::string();
    for (unsigned char i = 0; i < count; ++i) {
      out += static_cast<char>(images ? i : i % 2);
    }
    return out;
  };
  write(folder / "train-images-idx3-ubyte", idx(8, true));
  write(folder / "train-labels-idx1-ubyte", idx(8, false));
  write(folder / "t10k-images-idx3-ubyte", idx(4, true));
  write(folder / "t10k-labels-idx1-ubyte", idx(4, false));
}

TEST_CASE("flopsctl: dataset partition writes one folder a device and needs no coordinator") {
  const test::TemporaryFolder folder;
  write_dataset(folder.path());
  const std::string out = (folder / "parts").string();
  const std::vector<std::string> arguments{"dataset",   "partition", "--source",    folder.path().string(),
                                           "--devices", "2",         "--partition", "shards:1",
                                           "--out",     out};
  std::vector<std::string> as_json = arguments;
  as_json.insert(as_json.end(), {"-o", "json"});
  const Ended ended = run(as_json);
  REQUIRE(ended.status == 0);
  const auto answer = boost::json::parse(ended.out);
  CHECK(answer.at("partition") == "shards:1");
  REQUIRE(answer.at("devices").as_array().size() == 2);
  CHECK(answer.at("devices").at(0).at("device") == "device-1");
  CHECK(answer.at("devices").at(0).at("train_samples") == 4);
  CHECK(std::filesystem::file_size(folder / "parts/device-2/train-images.idx3-ubyte") == 16 + 4);
  CHECK(std::filesystem::file_size(folder / "parts/device-2/test-labels.idx1-ubyte") == 8 + 2);

  const Ended again = run(arguments);
  CHECK(again.status == 1);
  CHECK(has(again.err, "not an empty folder"));
}

TEST_CASE("flopsctl: dataset partition says what is wrong with its source") {
  const test::TemporaryFolder folder;
  const auto partition = [&] {
    return run({"dataset", "partition", "--source", folder.path().string(), "--devices", "2", "--out",
                (folder / "parts").string()});
  };
  const Ended empty = partition();
  CHECK(empty.status == 1);
  CHECK(has(empty.err, "no train-images"));
  write_dataset(folder.path());
  write(folder / "train-labels-idx1-ubyte", "not IDX");
  const Ended damaged = partition();
  CHECK(damaged.status == 1);
  CHECK(has(damaged.err, "train-labels-idx1-ubyte: not an IDX file"));
  CHECK_FALSE(std::filesystem::exists(folder / "parts"));
}

}  // namespace
}  // namespace flops::cli_test
