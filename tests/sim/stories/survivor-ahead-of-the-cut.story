# A survivor takes from another one what a lost home wrote last, before anybody has decided whether it
# counts; a second region is lost, the cut is drawn without it, and it keeps what the others file as lost tail.
bug UNSETTLED
breaks word kept
seed 14
minutes 10
times 8
failover automatic
region us clock -55000 postgres 3000 disk 211
region eu clock -55000 postgres 4000 disk 1747
region ap clock 55000 postgres 3000 disk 1637
region sa clock -55000 postgres 9000 disk 3597
class orders quorum home each replicas 15 allowed 15
class events async home us replicas 15 allowed 15
link eu us delay 53000 jitter 2651 duplicate 0 reorder 0
link ap us delay 89000 jitter 4451 duplicate 0 reorder 0
link ap eu delay 93000 jitter 4651 duplicate 0 reorder 0
link sa us delay 67000 jitter 3351 duplicate 0 reorder 0
link sa eu delay 101000 jitter 5051 duplicate 0 reorder 0
link sa ap delay 54000 jitter 2701 duplicate 0 reorder 0
habits clients 8640000 status 5224000 tick 4488000 images 12 trailing 1 reorders 0
at 29.674941 for 40.482340 us ap 2 0: PostgreSQL killed
at 27.750225 for 32.975155 ap us 0 0: disk full
at 43.291522 for 174.628720 ap eu 2 0: PostgreSQL killed
at 338.042256 for 228.597561 ap us 3 0: link cut one way
