-- Forgets a dead node. When its sessions are not known any more, somebody has to look through all that are open.
-- KEYS: leases, about. ARGV: node, whether its sessions are known (0 or 1). Returns 1 if it was forgotten.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) > now then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[2], 'swept')
  redis.call('HSET', KEYS[2], 'since', now)
end
return 1
