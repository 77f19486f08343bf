#include <doctest/doctest.h>

#include <deque>

#include "flops/core/config.hpp"

using flops::ConfigSpec;
using flops::Presence;
using namespace std::chrono_literals;

namespace {

struct Element {
  std::string tag;
  std::int64_t size = 1;
};

struct Settings {
  std::string name = "default";
  std::string mode = "managed";
  std::filesystem::path folder = "/var/lib/x";
  std::int64_t port = 8883;
  double rate = 0.5;
  bool on = false;
  std::chrono::milliseconds wait = 30s;
  std::vector<std::string> links = {"a", "b"};
  std::map<std::string, std::string> labels;
  std::deque<Element> elements;
};

void bind(ConfigSpec& spec, Settings& settings) {
  spec.text("name", settings.name, "a name", Presence::optional,
            [](const std::string& value) { return value == "bad" ? "must not be bad" : ""; });
  spec.choice("broker.mode", settings.mode, {"managed", "external"}, "a mode");
  spec.path("state.folder", settings.folder, "a folder");
  spec.integer("broker.port", settings.port, 0, 65535, "a port");
  spec.number("rate", settings.rate, 0, 1, "a rate");
  spec.boolean("on", settings.on, "a switch");
  spec.duration("wait", settings.wait, 1s, 1h, "a duration");
  spec.texts("links", settings.links, 2, "links",
             [](const std::string& value) { return value == "bad" ? "is bad" : ""; });
  spec.text_map("labels", settings.labels, "labels");
  spec.tables(
      "dataset",
      [&settings](ConfigSpec& row) {
        Element& element = settings.elements.emplace_back();
        row.text("tag", element.tag, "a tag", Presence::required);
        row.integer("size", element.size, 1, 10, "a size");
      },
      "data sets");
}

}  // namespace

TEST_CASE("config: every kind of setting is read") {
  Settings settings;
  ConfigSpec spec("test");
  bind(spec, settings);
  const auto parsed = spec.parse(R"(
name = "x"
rate = 1
on = true
wait = "5m"
links = ["c"]
[broker]
mode = "external"
port = 1
[state]
folder = "data"
[labels]
site = "north"
[[dataset]]
tag = "a"
[[dataset]]
tag = "b"
size = 7
)",
                                 "/etc/flops/x.toml");
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().what);
  CHECK(settings.name == "x");
  CHECK(settings.rate == 1.0);
  CHECK(settings.on);
  CHECK(settings.wait == 5min);
  CHECK(settings.mode == "external");
  CHECK(settings.port == 1);
  CHECK(settings.folder == "/etc/flops/data");
  CHECK(settings.links == std::vector<std::string>{"c"});
  CHECK(settings.labels.at("site") == "north");
  REQUIRE(settings.elements.size() == 2);
  CHECK(settings.elements[0].tag == "a");
  CHECK(settings.elements[1].size == 7);
}

TEST_CASE("config: everything that is wrong is reported together, with file and line") {
  Settings settings;
  ConfigSpec spec("test");
  bind(spec, settings);
  const auto parsed = spec.parse(
      "nmae = \"x\"\nrate = 2.5\non = \"yes\"\nwait = \"2 weeks\"\n[broker]\nport = 70000\n"
      "mode = \"none\"\n[[dataset]]\nsize = 11\n",
      "x.toml");
  REQUIRE_FALSE(parsed.has_value());
  const std::string& what = parsed.error().what;
  for (const char* expected :
       {"x.toml:1: unknown key 'nmae'; did you mean 'name'?", "x.toml:2: 'rate': 2.5 is out of range: 0 to 1",
        "x.toml:3: 'on': expected true or false, found text", "x.toml:4: 'wait': expected a duration",
        "x.toml:6: 'broker.port': 70000 is out of range: 0 to 65535", "x.toml:7: 'broker.mode': 'none' is none of",
        "[[dataset]]: 'tag' is missing", "'size': 11 is out of range"}) {
    CHECK_MESSAGE(what.find(expected) != std::string::npos, expected << "\nin:\n" << what);
  }
}

TEST_CASE("config: a bad value leaves the default, and what is no TOML is said with its line") {
  struct Row {
    const char* name;
    const char* text;
    const char* expected;
  };
  for (const Row& row : {Row{"not TOML", "a = = 1\n", "x.toml:1:"}, Row{"check", "name = \"bad\"\n", "must not be bad"},
                         Row{"negative duration", "wait = \"-5s\"\n", "expected a duration"},
                         Row{"overflow", "wait = \"99999999999999999d\"\n", "expected a duration"},
                         Row{"short", "wait = \"1ms\"\n", "out of range: 1s to 1h"},
                         Row{"labels", "[labels]\na = 1\n", "'a': expected text"},
                         Row{"a text for a list", "links = \"a\"\n", "expected a list of texts, found text"},
                         Row{"a list of numbers", "links = [\"a\", 1]\n", "expected text, found an integer"},
                         Row{"an element", "links = [\"x\", \"bad\"]\n", "is bad"},
                         Row{"too long", "links = [\"x\", \"y\", \"z\"]\n", "3 texts; at most 2"},
                         Row{"tables", "dataset = 3\n", "expected [[dataset]]"}}) {
    SUBCASE(row.name) {
      Settings settings;
      ConfigSpec spec("test");
      bind(spec, settings);
      const auto parsed = spec.parse(row.text, "x.toml");
      REQUIRE_FALSE(parsed.has_value());
      CHECK_MESSAGE(parsed.error().what.find(row.expected) != std::string::npos, parsed.error().what);
      CHECK(settings.wait == 30s);
      CHECK(settings.name == "default");
      CHECK(settings.links == std::vector<std::string>{"a", "b"});
    }
  }
}

TEST_CASE("config: a required key that is missing is an error, and the reference names every key") {
  std::string url;
  ConfigSpec spec("test");
  spec.text("coordinator.url", url, "address", Presence::required);
  const auto parsed = spec.parse("", "x.toml");
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().what == "x.toml: 'coordinator.url' is missing: address");

  std::filesystem::path ca;
  ConfigSpec optional("test");
  optional.path("tls.ca", ca, "file");
  CHECK(optional.reference().find("# ca = \"\"") != std::string::npos);
  std::string id;
  optional.text("id", id, "name", Presence::optional,
                [](const std::string& text) { return text.empty() ? "empty" : ""; });
  CHECK(optional.reference().find("# id = \"\"") != std::string::npos);
  CHECK(optional.parse(optional.reference(), "x.toml").has_value());

  Settings settings;
  ConfigSpec all("test");
  bind(all, settings);
  const std::string reference = all.reference();
  for (const char* expected : {"name = \"default\"", "[broker]", "port = 8883", "wait = \"30s\"",
                               "links = [\"a\", \"b\"]", "[[dataset]]", "# [labels]"}) {
    CHECK_MESSAGE(reference.find(expected) != std::string::npos, reference);
  }
}

TEST_CASE("config: single settings afterwards, and where the file names a key") {
  Settings settings;
  ConfigSpec spec("test");
  bind(spec, settings);
  REQUIRE(spec.parse("name = \"x\"\n[broker]\nport = 1\n", "x.toml"));
  CHECK(spec.line_of("name") == 1);
  CHECK(spec.line_of("broker.port") == 3);
  CHECK(spec.line_of("broker") == 2);
  CHECK(spec.line_of("rate") == 0);

  REQUIRE(spec.set("broker.port = 17", "/"));
  CHECK(settings.port == 17);
  CHECK(spec.line_of("broker.port") == 0);
  REQUIRE(spec.set("name=a:word/of mine", "/"));
  CHECK(settings.name == "a:word/of mine");
  REQUIRE(spec.set("name = \"5\"", "/"));
  CHECK(settings.name == "5");
  REQUIRE(spec.set("on = true", "/"));
  CHECK(settings.on);

  for (const char* wrong : {"port", "broker.port = many", "broker.port = 70000", "nmae = x", "name = a\"b", "name = 5",
                            "name = a\nrate = 0.1", "name", "= 3", "name ="}) {
    CAPTURE(wrong);
    const auto set = spec.set(wrong, "/");
    REQUIRE_FALSE(set);
    CHECK(set.error().what.contains(wrong));
  }
  CHECK(settings.name == "5");
  CHECK(spec.set("nmae = x", "/").error().what.contains("did you mean 'name'?"));
}
