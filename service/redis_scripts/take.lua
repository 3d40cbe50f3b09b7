-- Take tokens from a meter: service/access_meters.py has the arithmetic and its promise.
--
-- KEYS: meters of the tenant. ARGV: meter, now or '' for the server's own clock, need,
-- want, tokens a second, burst.
-- Returns {tokens, tokens missing}, as text. A call that was sent twice takes twice:
-- a tenant may lose a lot with a connection, never gain one.
local need, want = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[2])
if not now then
  -- One clock for all replicas: one that is ahead would let time stand still for the others.
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local rate, burst = tonumber(ARGV[5]), tonumber(ARGV[6])
local tokens, at = burst, now
local level = redis.call('HGET', KEYS[1], ARGV[1])
if level then
  local before, since = string.match(level, '^(%S+) (%S+)$')
  at = math.max(tonumber(since), now)
  tokens = math.min(burst, tonumber(before) + rate * (at - tonumber(since)))
end
local taken, missing = 0, math.min(need, burst) - tokens
if missing <= 0 then
  taken = math.max(need, math.min(want, tokens))
  tokens, missing = tokens - taken, 0
end
local noted = redis.pcall('HSET', KEYS[1], ARGV[1], string.format('%.17g %.17g', tokens, at))
if type(noted) == 'table' and noted.err then
  if not string.find(noted.err, 'OOM', 1, true) then
    return noted
  end
  -- A server that is full refuses updates anyway; deleting something must still be possible.
  return {string.format('%.17g', need), '0'}
end
-- A meter that nobody asks for a day is full, or its tenant owes more than anybody remembers.
redis.call('EXPIRE', KEYS[1], 86400)
return {string.format('%.17g', taken), string.format('%.17g', missing)}
