-- KEYS: messages for a node. ARGV: message, how many may wait, how long they are kept (ms). Returns 0 if there is no room.
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('XADD', KEYS[1], '*', 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
