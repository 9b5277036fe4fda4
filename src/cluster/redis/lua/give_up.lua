-- KEYS: owner of a session. ARGV: who gives it up, to whom or nothing, how long it is kept (ms). Returns 1 if it was theirs.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
