-- A node says what it takes on, and hears what others do.
-- KEYS: roles, sample. ARGV: how long what is said holds (ms), a sample or nothing, the node's roles.
-- Returns: the roles that somebody takes on, the sample or nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for number = 3, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[number]) end
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2]) end
return {redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf'), redis.call('GET', KEYS[2]) or ''}
