# A region puts a write aside, past the cut of its home, and forgets why: it restarts with an older store, and answers a
# read whose token is of that home's epoch, which it has not heard of again.
bug TOKEN_AHEAD
breaks reads go forward
seed 7983
minutes 10
times 4
failover automatic
region us clock -61 postgres 2000 disk 264
region eu clock -175 postgres 9000 disk 3197
region ap clock 162 postgres 5000 disk 805
region sa clock -165 postgres 6000 disk 3045
region af clock 200 postgres 2000 disk 4633 witness
class orders quorum home us replicas 15 allowed 11
class events async home us replicas 15 allowed 15
link eu us delay 49000 jitter 2451 duplicate 0 reorder 0
link ap us delay 87000 jitter 4351 duplicate 0 reorder 0
link ap eu delay 10000 jitter 501 duplicate 0 reorder 0
link sa us delay 20000 jitter 1001 duplicate 0 reorder 0
link sa eu delay 25000 jitter 1251 duplicate 0 reorder 0
link sa ap delay 111000 jitter 5551 duplicate 0 reorder 0
link af us delay 66000 jitter 3301 duplicate 0 reorder 0
link af eu delay 109000 jitter 5451 duplicate 0 reorder 0
link af ap delay 64000 jitter 3201 duplicate 0 reorder 0
link af sa delay 98000 jitter 4901 duplicate 0 reorder 0
habits clients 1728000 status 2452000 tick 1028000 images 136 trailing 59 reorders 0
at 128.112656 for 19.571625 sa af 0 0: agent killed
at 130.314702 for 114.346280 us eu 0 0: PostgreSQL killed
at 98.080257 for 8.361588 ap sa 0 13062080720521676520: clock off its rate
at 102.746912 for 11.834911 ap af 1 0: machine killed
at 238.070567 for 20.532333 ap eu 1 0: machine killed
at 162.231957 for 136.961299 ap sa 1 0: agent killed
at 185.231721 for 98.321686 af ap 1 0: machine killed
at 152.750021 for 21.875103 eu sa 0 0: agent killed
at 77.060328 for 13.970344 sa af 1 0: machine killed
at 94.046737 for 31.027630 af sa 1 0: machine killed
at 164.449408 for 145.227938 eu sa 0 0: link cut
at 170.774479 for 14.704855 ap eu 0 0: machine killed
at 84.674439 for 3.267218 us eu 1 0: PostgreSQL killed
at 105.881854 for 118.213530 sa af 1 0: agent killed
at 220.259536 for 140.733622 ap us 0 0: machine killed
at 245.365697 for 73.677050 us ap 0 0: agent killed
at 250.932150 for 86.970995 af sa 1 0: suspended with its clock
