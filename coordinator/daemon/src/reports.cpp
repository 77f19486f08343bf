#include "reports.hpp"

#include "api_json.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::coordinator {
namespace {

constexpr auto longest_wait = std::chrono::seconds(30);
constexpr std::size_t max_open = 64;

}  // namespace

void Reports::ask(const DeviceId& device, std::string_view kind, http::Reply reply) {
  if (open_.size() >= max_open) {
    reply(error_response(429, "too_many", "too many devices are being asked; try again in half a minute"));
    return;
  }
  const std::string request = crypto::base64url(crypto::random_bytes(12));
  open_.emplace(request, Open{device, std::string(kind), std::move(reply), clock_.steady() + longest_wait, {}});
  link_.command(device, "report", wire::encode(wire::ReportRequest{request, std::string(kind)}));
}

void Reports::on_report(const DeviceId& device, wire::Report report) {
  const auto found = open_.find(report.request);
  if (found == open_.end() || found->second.device != device) {
    return;  // it took too long
  }
  Open& open = found->second;
  open.parts[report.part] = std::move(report.text);
  if (open.parts.size() < static_cast<std::size_t>(report.parts)) {
    return;
  }
  std::string text;
  for (const auto& [part, piece] : open.parts) {
    text += piece;
  }
  open.reply(json_response(200, {{"device", device.str()}, {"kind", open.kind}, {"text", text}}));
  open_.erase(found);
}

void Reports::tick() {
  for (auto place = open_.begin(); place != open_.end();) {
    if (clock_.steady() < place->second.until) {
      ++place;
      continue;
    }
    place->second.reply(
        error_response(504, "no_answer", fmt::format("{} did not answer; is it online?", place->second.device)));
    place = open_.erase(place);
  }
}

}  // namespace flops::coordinator
