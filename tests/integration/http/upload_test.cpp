#include <doctest/doctest.h>

#include <string>

#include "fixture.hpp"
#include "flops/core/file.hpp"
#include "raw_client.hpp"

using namespace flops;
using namespace flops::http;
using namespace flops::http::test;

namespace {

constexpr std::size_t most = 3'000'000;

// Uploads of /upload go into its folder; without the token they are not wanted.
struct Uploads {
  Folder folder;
  TestServer server{{.max_body = 1000, .plan_body = [this](const Request& head) { return plan(head); }}};

  int planned = 0;

  BodyPlan plan(const Request& head) {
    if (head.path != "/upload") {
      return {};
    }
    if (head.bearer != "t") {
      return Response{.status = 403, .body = "who are you"};
    }
    const auto name = head.query.find("name");
    const std::string own = "upload-" + std::to_string(planned++);
    return Upload{folder / (name == head.query.end() ? own : name->second), most};
  }
  [[nodiscard]] ClientResponse put(const std::string& path, const std::string& body, const std::string& bearer = "t") {
    ClientOptions options = trusting();
    options.bearer = bearer;
    return must(request("PUT", server.url(path), body, options));
  }
};

const std::string head = "PUT /upload HTTP/1.1\r\nAuthorization: Bearer t\r\nConnection: close\r\n";

}  // namespace

TEST_CASE("upload: it comes as a file, of any size up to its own limit, and is gone after the answer") {
  Uploads uploads;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1001}, most}) {
    const std::string body = random_text(size);
    const ClientResponse answer = uploads.put("/upload", body);
    CHECK(answer.status == 200);
    CHECK(answer.body == "t:" + body);
    CHECK(uploads.folder.entries() == 0);
  }
  CHECK(uploads.put("/echo", std::string(1001, 'x')).status == 413);  // others keep theirs
}

TEST_CASE("upload: who renames the file keeps it") {
  Uploads uploads;
  uploads.server.file = uploads.folder / "kept";
  const std::string body = random_text(100'000);
  CHECK(uploads.put("/upload?keep=1", body).status == 200);
  CHECK(read_file(uploads.folder / "kept").value() == body);
  CHECK(uploads.folder.entries() == 1);
}

TEST_CASE("upload: in chunks, and after permission to send") {
  Uploads uploads;
  RawClient client(uploads.server.port());
  REQUIRE(client.send(head + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"));
  CHECK(client.read_until("\r\n\r\n").text == "HTTP/1.1 100 Continue\r\n\r\n");
  REQUIRE(client.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  CHECK(client.read_all().text.ends_with("t:abcde"));
}

TEST_CASE("upload: refused ones leave nothing behind and never reach the handler") {
  Uploads uploads;
  const std::size_t above = most + 1;
  SUBCASE("not wanted: before it is sent") {
    RawClient client(uploads.server.port());
    REQUIRE(client.send("PUT /upload HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"));
    const Heard heard = client.read_all();
    CHECK(heard.text.starts_with("HTTP/1.1 403 "));
    CHECK(heard.text.ends_with("who are you"));
  }
  SUBCASE("not wanted, and sent all the same") {
    CHECK(uploads.put("/upload", random_text(100'000), "").status == 403);
  }
  SUBCASE("announced as too large") {
    RawClient client(uploads.server.port());
    REQUIRE(client.send(head + "Content-Length: " + std::to_string(above) + "\r\n\r\n"));
    CHECK(client.read_all().text.starts_with("HTTP/1.1 413 "));
  }
  SUBCASE("a chunk too large") {
    RawClient client(uploads.server.port());
    REQUIRE(client.send(head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nffffff\r\n"));
    const Heard heard = client.read_all();
    CHECK(heard.text.starts_with("HTTP/1.1 413 "));
    CHECK(contains(heard.text, std::to_string(most)));
  }
  SUBCASE("cut off in the middle") {
    RawClient client(uploads.server.port());
    REQUIRE(client.send(head + "Content-Length: 9\r\n\r\nabc"));
  }
  SUBCASE("there is no place for it") {
    const ClientResponse answer = uploads.put("/upload?name=none/upload", "abc");
    CHECK(answer.status == 503);
    CHECK(contains(answer.body, "the upload cannot be stored"));
  }
  SUBCASE("its place is taken") {
    REQUIRE(replace_file(uploads.folder / "taken", "of another").has_value());
    CHECK(uploads.put("/upload?name=taken", "abc").status == 503);
    CHECK(read_file(uploads.folder / "taken").value() == "of another");
    std::filesystem::remove(uploads.folder / "taken");
  }
  CHECK(uploads.put("/upload", "x").status == 200);  // the server goes on
  CHECK(uploads.server.handled() == 1);
  uploads.server.on_loop([](Server& server) { server.stop(); });
  CHECK(uploads.folder.entries() == 0);
}
