-- The opening of every script about one sketch: is it there, in a format we know?
--
-- KEYS[1] is the sketch's hash. Its fields, all text:
--   v  format of the stored sketch, "1"      i  incarnation
--   s  spec            q  request            C  created_at, seconds
--   t  ttl_seconds or ""                     e  expires_at or ""
--   m  state_bytes     z  sealed operands, separated by commas
--   p  position        d  digest there       x  "1" while exact
--   u  updates         w  underflowed        b  bytes ever logged   c  coordinates ever logged
--   P  checkpoint's position                 D  digest there
--   B  key of its state or ""                N  chunks of it
--   fb, fc  bytes and coordinates folded     T  position trimmed through
--   h  lease's holder  l  lease's end
--
-- Refusals are arrays that begin with a word; the Python side has one table for them.

local FORMAT = '1'

-- A number as text that reads back as the same number.
local function text(number)
  return string.format('%.17g', number)
end

-- The sketch's incarnation, or nil and the refusal. incarnation: '' for any.
local function alive(incarnation, now)
  local found = redis.call('HMGET', KEYS[1], 'v', 'i', 'e')
  if not found[1] then
    return nil, {'gone'}
  end
  if found[1] ~= FORMAT then
    return nil, {'newer', found[1]}
  end
  if incarnation ~= '' and found[2] ~= incarnation then
    return nil, {'gone'}
  end
  if found[3] ~= '' and tonumber(found[3]) <= tonumber(now) then
    return nil, {'gone'}
  end
  return found[2]
end

