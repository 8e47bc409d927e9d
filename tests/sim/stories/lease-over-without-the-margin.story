# Agents are killed and the network is split while clocks are at their bounds: whoever takes a lease as over
# without the margin has two writers.
bug SKIP_MARGIN
breaks one writer
seed 669
minutes 10
times 2
failover automatic
region us clock -55000 postgres 9000 disk 2045
region eu clock 55000 postgres 9000 disk 2278
region ap clock -55000 postgres 7000 disk 3073
region sa clock 55000 postgres 10000 disk 1319
class orders quorum home each replicas 15 allowed 15
class events async home us replicas 15 allowed 15
class accounts async home ap replicas 12 allowed 12
link eu us delay 79000 jitter 3951 duplicate 0 reorder 0
link ap us delay 54000 jitter 2701 duplicate 0 reorder 0
link ap eu delay 115000 jitter 5751 duplicate 0 reorder 0
link sa us delay 10000 jitter 501 duplicate 0 reorder 0
link sa eu delay 3000 jitter 151 duplicate 0 reorder 0
link sa ap delay 22000 jitter 1101 duplicate 0 reorder 0
habits clients 1740000 status 972000 tick 1018000 images 35 trailing 45 reorders 0
at 47.918534 for 50.444056 sa eu 4 0: agent killed
at 64.168383 for 5.353566 sa ap 3 9: network split
at 13.612386 for 1.194516 eu sa 0 0: agent killed
at 108.788322 for 8.066367 ap sa 2 0: agent killed
at 69.363485 for 4.091523 sa us 3 11: network split
