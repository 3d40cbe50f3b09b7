-- Write one chunk of a part that nothing refers to yet. KEYS: part. ARGV: number, chunk, seconds
-- after which it is gone if nothing ever does.
--
-- One script, so that no chunk is there without an end; and a chunk that is there is left alone,
-- so that a duplicate which arrives late cannot give an end to a part in use.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return {'ok'}
