-- wrk's: asks for tokens, and keeps them in the file TOKENS, one a line.
local path, token, audience, file
function init(arguments)
  local settings = dofile(arguments[1])  -- not in argv, where everybody could read the token
  path, token, audience = settings.path, settings.token, settings.audience
  file = io.open(settings.tokens, "w")
  file:setvbuf("line")
  wrk.headers["Authorization"] = "Bearer " .. token
  wrk.headers["Content-Type"] = "application/json"
end
function request()
  return wrk.format("POST", path, nil, '{"spec":{"audiences":["' .. audience .. '"],"expirationSeconds":7200}}')
end
function response(status, headers, body)
  local made = body:match('"token":"([^"]+)"')
  if made then file:write(made .. "\n") end
end
