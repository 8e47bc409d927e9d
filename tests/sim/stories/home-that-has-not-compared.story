# A region was down while a failover went on without it. It returns, hears where the cut was, and holds writes past it,
# which it must file and have replaced by the home's rows. Its home is lost again before it has, and it is chosen.
bug HOME_UNCOMPARED
breaks tail first
seed 63
minutes 10
times 4
failover automatic
region us clock -55000 postgres 8000 disk 3179
region eu clock -55000 postgres 7000 disk 1033
region ap clock -55000 postgres 3000 disk 972
region sa clock -55000 postgres 2000 disk 2053
region af clock 55000 postgres 6000 disk 2837
class orders quorum home each replicas 31 allowed 31
class events async home us replicas 31 allowed 31
class accounts async home us replicas 31 allowed 27
link eu us delay 89000 jitter 4451 duplicate 0 reorder 0
link ap us delay 75000 jitter 3751 duplicate 0 reorder 0
link ap eu delay 113000 jitter 5651 duplicate 0 reorder 0
link sa us delay 108000 jitter 5401 duplicate 0 reorder 0
link sa eu delay 54000 jitter 2701 duplicate 0 reorder 0
link sa ap delay 17000 jitter 851 duplicate 0 reorder 0
link af us delay 21000 jitter 1051 duplicate 0 reorder 0
link af eu delay 66000 jitter 3301 duplicate 0 reorder 0
link af ap delay 86000 jitter 4301 duplicate 0 reorder 0
link af sa delay 105000 jitter 5251 duplicate 0 reorder 0
habits clients 2664000 status 964000 tick 864000 images 134 trailing 36 reorders 0
at 364.633997 for 148.585997 ap sa 3 0: operator moves a home
at 61.200024 for 18.534089 ap sa 1 0: operator drains it
at 30.654705 for 9.822902 eu sa 5 0: link cut one way
at 259.444861 for 49.782750 af us 2 22: network split
at 26.246487 for 109.367730 us sa 6 13: network split
at 377.170348 for 100.606351 us ap 5 4: network split
