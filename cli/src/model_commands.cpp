// model list and get.
#include <algorithm>

#include "commands.hpp"
#include "flops/core/digest.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"
#include "flops/tensor/safetensors.hpp"
#include "output.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t shortest_prefix = 6;
constexpr std::uint64_t max_model_bytes = (1ULL << 32U) + tensor::max_safetensors_header;

bool looks_like_digest(std::string_view text) {
  return text.size() >= shortest_prefix && text.size() <= 2 * Digest::size &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Digests of stored models that begin with `prefix`.
Outcome<std::vector<Digest>> digests_with(const Api& api, const std::string& prefix) {
  const auto answer = api.get("/v1/models");
  if (!answer) {
    return give_up(answer.error());
  }
  std::vector<Digest> found;
  for (const json::value& model : report::array_field(*answer, "models")) {
    const auto digest = Digest::from_hex(report::text_field(model, "digest").value_or(""));
    if (digest && digest->hex().starts_with(prefix) && std::ranges::find(found, *digest) == found.end()) {
      found.push_back(*digest);
    }
  }
  return found;
}

Outcome<Digest> model_of_run(const Api& api, const std::string& id, bool best) {
  if (auto checked = check_id(id); !checked) {
    return give_up(checked.error());
  }
  const auto run = api.get("/v1/runs/" + id);
  if (!run) {
    return give_up(run.error());
  }
  const json::value* const chosen = best && run->is_object() ? run->get_object().if_contains("best") : &*run;
  const auto digest =
      Digest::from_hex(chosen == nullptr ? "" : report::text_field(*chosen, "model_digest").value_or(""));
  if (!digest) {
    return give_up(exit_not_found, "run {} has no {} yet", id, best ? "measured model" : "model");
  }
  return *digest;
}

Outcome<Digest> find_model(const Api& api, const std::string& what, bool best) {
  if (best || !looks_like_digest(what)) {
    return model_of_run(api, what, best);
  }
  const auto found = digests_with(api, what);
  if (!found) {
    return give_up(found.error());
  }
  if (found->size() > 1) {
    return give_up(exit_failed, "{} models begin with {}: give more digits", found->size(), what);
  }
  if (found->size() == 1) {
    return found->front();
  }
  if (what.size() == 2 * Digest::size) {
    return give_up(exit_not_found, "no model {} here; 'flopsctl model list' shows what there is", what);
  }
  return model_of_run(api, what, best);
}

// The digest names layout and values, so a file that was damaged or exchanged on the way is noticed here.
Outcome<> verify(const std::filesystem::path& file, const Digest& digest) {
  const auto opened = tensor::open_safetensors(file);
  const auto actual =
      opened ? tensor::model_digest(opened->layout, opened->values()) : Result<Digest>(std::unexpected(opened.error()));
  if (!actual) {
    return give_up(exit_failed, "the model that came is damaged: {}", actual.error().what);
  }
  if (*actual != digest) {
    return give_up(exit_failed, "the model that came is {}, not {}", actual->hex(), digest.hex());
  }
  return exit_ok;
}

Outcome<> fetch(const Context& context, const Api& api, const Digest& digest, const std::filesystem::path& file) {
  const std::filesystem::path scratch = context.interruption->make_scratch(file);
  if (scratch.empty()) {
    return give_up(exit_failed, "cannot write beside {}: does its folder exist?", file.string());
  }
  const std::filesystem::path incoming = scratch / "model.safetensors";
  auto done = api.download("/v1/models/" + digest.hex(), incoming, max_model_bytes);
  done = done ? verify(incoming, digest) : done;
  if (done) {
    std::error_code error;
    std::filesystem::rename(incoming, file, error);
    done = error ? give_up(exit_failed, "writing {}: {}", file.string(), error.message()) : done;
  }
  context.interruption->drop_scratch(scratch);
  return done;
}

}  // namespace

Outcome<> list_models(const Context& context) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->get("/v1/models");
  return answer ? show(context, *answer, report::models_table) : give_up(answer.error());
}

Outcome<> get_model(const Context& context, const std::string& what, bool best, const std::filesystem::path& file) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto digest = find_model(*api, what, best);
  if (!digest) {
    return give_up(digest.error());
  }
  if (auto fetched = fetch(context, *api, *digest, file); !fetched) {
    return fetched;
  }
  const std::string path = std::filesystem::absolute(file).string();
  if (context.format == Format::json) {
    return print_json({{"digest", digest->hex()}, {"path", path}});
  }
  return print(fmt::format("model {} written to {}\n", digest->short_hex(), path));
}

}  // namespace flops::cli
