-- A bucket of tokens, as in src/gateway/bucket.rs, by the clock of Redis.
-- KEYS: bucket. ARGV: tokens a minute, most tokens, parts of a token, whether one is taken (0 or 1).
-- Returns 0, or in how many ms there will be a token.
local per_minute, parts = tonumber(ARGV[1]), tonumber(ARGV[3])
local full = ARGV[2] * parts
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local level = full
local kept = redis.call('GET', KEYS[1])
if kept then
  local kept_level, at = string.match(kept, '^(%d+) (%d+)$')
  at = tonumber(at)
  level = math.min(full, kept_level + math.max(now - at, 0) * per_minute)
  now = math.max(now, at)
end
if level < parts then return math.ceil((parts - level) / per_minute) end
if ARGV[4] == '1' then
  level = level - parts
  -- One that is full again need not be remembered.
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', level, now), 'PX', math.ceil((full - level) / per_minute) + 1000)
end
return 0
