-- One POST again and again, by wrk; at the end a line of JSON with what was counted.
-- BODY and TOKEN come from the environment. With COUNT_SHED answers that shed are counted, which costs wrk time.

wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

if os.getenv("COUNT_SHED") then
  shed, other = 0, 0

  function response(status, headers)
    local found = {}
    for name, value in pairs(headers) do
      found[string.lower(name)] = value
    end
    if (status == 503 or status == 429) and found["retry-after"] then
      shed = shed + 1
    elseif status ~= 200 then
      other = other + 1
    end
  end
end

function done(summary, latency, requests)
  local shed, other = 0, 0
  for _, thread in ipairs(threads) do
    shed = shed + (thread:get("shed") or 0)
    other = other + (thread:get("other") or 0)
  end
  local errors = summary.errors
  print(string.format(
    '{"answers": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f, "not_2xx": %d, "broken": %d, "late": %d, "shed": %d, "other": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write, errors.timeout, shed, other
  ))
end
