// Text tables: columns two spaces apart, numbers to the right, no trailing blanks, no lines drawn, so that they read
// well and cut and awk understand them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace flops::report {

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
  std::size_t min_width = 0;
};

using Cells = std::vector<std::string>;

class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // Missing cells are empty; more cells than columns are dropped.
  void add(Cells cells);
  // Header and rows, each with a line break; widths fit the longest cell.
  [[nodiscard]] std::string text() const;

  // For rows that are printed as they come: widths are what the titles and min_width ask for.
  [[nodiscard]] std::string header() const;
  [[nodiscard]] std::string row(const Cells& cells) const;

 private:
  [[nodiscard]] std::string line(const Cells& cells, const std::vector<std::size_t>& widths) const;
  [[nodiscard]] std::vector<std::size_t> natural_widths() const;

  std::vector<Column> columns_;
  std::vector<Cells> rows_;
};

// "key:   value" lines, values aligned.
[[nodiscard]] std::string details(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace flops::report
