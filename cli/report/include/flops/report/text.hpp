// Values as text for people. Everything that comes from elsewhere (labels, notes, reasons) goes through printable(): a
// terminal must never be steered by a device.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace flops::report {

// Control characters and invalid UTF-8 become '?'; line breaks too.
[[nodiscard]] std::string printable(std::string_view text);
// Characters on the terminal; counts code points, which is right for everything but combining and wide characters.
[[nodiscard]] std::size_t display_width(std::string_view text);
// "812 B", "1.5 KiB", "6.3 MiB".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);
// "0.8712": fixed digits, "-" when not finite.
[[nodiscard]] std::string fixed_text(double value, int digits);

}  // namespace flops::report
