-- Forget one incarnation of a sketch, whole.
--
-- KEYS: sketch, log, answers, expiries, lanes, attachments, then the keys of its large parts.
-- ARGV: incarnation, how many attachments among those, '1' if the last of them is the
--   checkpoint's state, now to remove it only if it has expired by then, or ''.
-- Returns ok, gone, kept (it has not expired), changed (read the keys again), newer.
local sketch = redis.call('HMGET', KEYS[1], 'v', 'i', 'e', 'B')
if not sketch[1] or sketch[2] ~= ARGV[1] then
  return {'gone'}
end
if sketch[1] ~= '1' then
  return {'newer', sketch[1]}
end
if ARGV[4] ~= '' and (sketch[3] == '' or tonumber(sketch[3]) > tonumber(ARGV[4])) then
  return {'kept'}
end
local attached = tonumber(ARGV[2])
if redis.call('ZCARD', KEYS[6]) ~= attached
    or sketch[4] ~= (ARGV[3] == '1' and KEYS[#KEYS] or '') then
  return {'changed'}
end
for at = 7, 6 + attached do
  if not redis.call('ZSCORE', KEYS[6], KEYS[at]) then
    return {'changed'}
  end
end
for _, key in ipairs(KEYS) do
  redis.call('UNLINK', key)
end
return {'ok'}
