-- A node renews its lease, and sees who lives.
-- KEYS: leases, about. ARGV: node, length of a lease (ms), dead nodes that are named at most.
-- Returns: whether the lease held until now (0 or 1), how many nodes live, whether the open sessions were looked through
--          (0 or 1), how long this Redis has held anything (ms), dead nodes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSETNX', KEYS[2], 'since', now)
local since = tonumber(redis.call('HGET', KEYS[2], 'since'))
local living = redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
local held = before and tonumber(before) > now
return {held and 1 or 0, living, redis.call('HEXISTS', KEYS[2], 'swept'), math.max(now - since, 0), dead}
