#include "cli/table_text.h"

#include <algorithm>

#include "api/table.h"

namespace podpass::cli {
namespace {

std::string shown(const json::value& cell) {
  if (const json::string* text = cell.if_string()) return std::string(*text);
  return cell.is_null() ? "" : json::serialize(cell);
}

}  // namespace

std::string tableText(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const std::vector<std::string>& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      text += i + 1 == row.size() ? row[i] : row[i] + std::string(widths[i] + 2 - row[i].size(), ' ');
    text += '\n';
  }
  return text;
}

std::string tableText(const api::Kind& kind, const std::vector<DocumentPtr>& objects, WallTime now) {
  std::vector<std::vector<std::string>> rows(1);
  if (kind.namespaced) rows[0].emplace_back("NAMESPACE");
  rows[0].emplace_back("NAME");
  for (const api::Column& column : kind.columns) {
    if (column.priority > 0) continue;
    std::string title(column.name);
    for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    rows[0].push_back(std::move(title));
  }
  for (const DocumentPtr& object : objects) {
    std::vector<std::string>& row = rows.emplace_back();
    if (kind.namespaced) row.emplace_back(textAt(object->value, {"metadata", "namespace"}));
    row.emplace_back(textAt(object->value, {"metadata", "name"}));
    for (const api::Column& column : kind.columns)
      if (column.priority == 0) row.push_back(shown(column.cell(object->value, now)));
  }
  return tableText(rows);
}

}  // namespace podpass::cli
