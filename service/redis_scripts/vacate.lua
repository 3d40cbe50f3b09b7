-- Give back the place that one incarnation holds in the tenant's index.
-- KEYS: names, places, totals, expiring. ARGV: name, incarnation. Returns ok or kept.
local place = redis.call('HGET', KEYS[2], ARGV[1])
if place then
  local bytes, incarnation = string.match(place, '^(%S+) (%S+)')
  if incarnation ~= ARGV[2] then
    return {'kept'}
  end
  local total = tonumber(redis.call('GET', KEYS[3]) or '0') - tonumber(bytes)
  -- What frees memory comes first: a server that is full refuses a script that begins with SET.
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('SET', KEYS[3], string.format('%.0f', total))
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return {'ok'}
