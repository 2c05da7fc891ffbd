-- What wrk sends, in turn, and at the end a line of JSON with what it counted.
-- REQUESTS has one request a line: a body for POST, or a path for GET. TOKEN is the bearer's.
-- With COUNT_SHED it looks at every answer, which takes wrk some time.

wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")

local threads = {}
local requests = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  for line in string.gmatch(os.getenv("REQUESTS"), "[^\n]+") do
    if string.sub(line, 1, 1) == "/" then
      table.insert(requests, wrk.format("GET", line))
    else
      table.insert(requests, wrk.format("POST", nil, nil, line))
    end
  end
end

local sent = 0

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

if os.getenv("COUNT_SHED") then
  shed, other = 0, 0

  function response(status, headers)
    local later = false
    for name in pairs(headers) do
      later = later or string.lower(name) == "retry-after"
    end
    if (status == 503 or status == 429) and later then
      shed = shed + 1
    elseif status ~= 200 then
      other = other + 1
    end
  end
end

function done(summary, latency)
  local shed, other = 0, 0
  for _, thread in ipairs(threads) do
    shed = shed + (thread:get("shed") or 0)
    other = other + (thread:get("other") or 0)
  end
  local errors = summary.errors
  print(string.format(
    '{"answers": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d, "shed": %d, "other": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout, shed, other
  ))
end
