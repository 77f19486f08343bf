#include "flops/report/table.hpp"

#include <algorithm>

#include "flops/report/text.hpp"

namespace flops::report {

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add(Cells cells) {
  cells.resize(columns_.size());
  std::ranges::transform(cells, cells.begin(), [](const std::string& cell) { return printable(cell); });
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::natural_widths() const {
  std::vector<std::size_t> widths;
  widths.reserve(columns_.size());
  for (const Column& column : columns_) {
    widths.push_back(std::max(column.min_width, display_width(column.title)));
  }
  return widths;
}

std::string Table::line(const Cells& cells, const std::vector<std::size_t>& widths) const {
  std::string out;
  for (std::size_t i = 0; i < columns_.size() && i < cells.size(); ++i) {
    const std::string cell = printable(cells[i]);
    const std::size_t width = display_width(cell);
    const std::string padding(widths[i] > width ? widths[i] - width : 0, ' ');
    out += i == 0 ? "" : "  ";
    out += columns_[i].align == Align::right ? padding + cell : cell + padding;
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out + "\n";
}

std::string Table::header() const {
  Cells titles;
  std::ranges::transform(columns_, std::back_inserter(titles), &Column::title);
  return line(titles, natural_widths());
}

std::string Table::row(const Cells& cells) const {
  return line(cells, natural_widths());
}

std::string Table::text() const {
  std::vector<std::size_t> widths = natural_widths();
  for (const Cells& cells : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], display_width(cells[i]));
    }
  }
  Cells titles;
  std::ranges::transform(columns_, std::back_inserter(titles), &Column::title);
  std::string out = line(titles, widths);
  for (const Cells& cells : rows_) {
    out += line(cells, widths);
  }
  return out;
}

std::string details(const std::vector<std::pair<std::string, std::string>>& lines) {
  std::size_t width = 0;
  for (const auto& [key, value] : lines) {
    width = std::max(width, display_width(key));
  }
  std::string out;
  for (const auto& [key, value] : lines) {
    const std::string shown = printable(value);
    out += key;
    out += ':';
    out.append(shown.empty() ? 0 : width - display_width(key) + 2, ' ');
    out += shown;
    out += '\n';
  }
  return out;
}

}  // namespace flops::report
