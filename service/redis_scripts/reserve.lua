-- Hold a place in the tenant's index for a sketch about to be created.
--
-- KEYS: names, places, totals, expiring. ARGV: name, incarnation, state_bytes, now,
--   most sketches or '', most bytes or '', expires_at or ''.
-- Returns ok, or {'over', sketches, bytes} without what this name holds already.
--
-- A place is "<bytes> <incarnation> <since>". Index and sketch lie in different slots, so the
-- place is taken first and given back last; one that was left behind is found by the sweep.
local bytes = tonumber(ARGV[3])
local sketches = redis.call('ZCARD', KEYS[1])
local total = tonumber(redis.call('GET', KEYS[3]) or '0')
local place = redis.call('HGET', KEYS[2], ARGV[1])
if place then
  sketches = sketches - 1
  total = total - tonumber(string.match(place, '^(%S+)'))
end
if (ARGV[5] ~= '' and sketches + 1 > tonumber(ARGV[5]))
    or (ARGV[6] ~= '' and total + bytes > tonumber(ARGV[6])) then
  return {'over', sketches, string.format('%.0f', total)}
end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], table.concat({ARGV[3], ARGV[2], ARGV[4]}, ' '))
redis.call('SET', KEYS[3], string.format('%.0f', total + bytes))
if ARGV[7] ~= '' then
  redis.call('ZADD', KEYS[4], 'LT', ARGV[7], ARGV[1])
end
return {'ok'}
