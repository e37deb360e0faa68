-- wrk's: has the tokens of the file TOKENS reviewed, one after the other.
local requests, next = {}, 0
function init(arguments)
  local settings = dofile(arguments[1])  -- not in argv, where everybody could read the token
  wrk.headers["Authorization"] = "Bearer " .. settings.token
  wrk.headers["Content-Type"] = "application/json"
  for token in io.lines(settings.tokens) do
    local body = '{"spec":{"token":"' .. token .. '","audiences":["' .. settings.audience .. '"]}}'
    table.insert(requests, wrk.format("POST", settings.path, nil, body))
  end
end
function request()
  next = next % #requests + 1
  return requests[next]
end
