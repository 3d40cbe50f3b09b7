-- Take tokens from a meter: service/access_meters.py has the arithmetic and its promise.
--
-- KEYS: meters of the tenant. ARGV: meter, now, need, want, tokens a second, burst.
-- Returns {tokens, tokens missing}, as text. A call that was sent twice takes twice:
-- a tenant may lose a lot with a connection, never gain one.
local now, need, want = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
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
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.17g %.17g', tokens, at))
-- A meter that nobody asks for a day is full, or its tenant owes more than anybody remembers.
redis.call('EXPIRE', KEYS[1], 86400)
return {string.format('%.17g', taken), string.format('%.17g', missing)}
