# A move of a drain is aborted, because the target is lost; the drained region stays home.
bug DRAIN_ONCE
breaks drained
seed 31
minutes 10
times 8
failover automatic
region us clock -55000 postgres 4000 disk 458
region eu clock -55000 postgres 5000 disk 538
region ap clock 55000 postgres 8000 disk 691
class orders quorum home us replicas 7 allowed 3
class events async home us replicas 7 allowed 7
link eu us delay 97000 jitter 4851 duplicate 13 reorder 61
link ap us delay 25000 jitter 1251 duplicate 2 reorder 170
link ap eu delay 44000 jitter 2201 duplicate 49 reorder 175
habits clients 9808000 status 5416000 tick 4360000 images 0 trailing 37 reorders 1
at 233.584534 for 251.187103 eu ap 0 0: operator drains it
at 74.839343 for 165.144949 us eu 0 0: disk full
at 124.070884 for 4.040170 us ap 1 0: disk full
at 216.227032 for 316.937365 us eu 1 0: PostgreSQL killed
