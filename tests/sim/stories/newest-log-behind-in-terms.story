# Four voters, healed: two are behind in terms and have the newest log, two are ahead and lack its end. Neither pair
# can lead without one of the other, and libraft's refusal of a pre-vote does not say which term it is.
shows which asks for votes in term
seed 23752
minutes 10
times 8
failover automatic
region us clock 171 postgres 3000 disk 311
region eu clock -147 postgres 10000 disk 1865
region ap clock -68 postgres 5000 disk 722
region sa clock 128 postgres 8000 disk 4414
class orders quorum home us replicas 15 allowed 15
class events async home us replicas 15 allowed 15
class accounts async home us replicas 13 allowed 9
link eu us delay 2000 jitter 101 duplicate 15 reorder 177
link ap us delay 117000 jitter 5851 duplicate 34 reorder 188
link ap eu delay 70000 jitter 3501 duplicate 15 reorder 124
link sa us delay 96000 jitter 4801 duplicate 19 reorder 125
link sa eu delay 56000 jitter 2801 duplicate 8 reorder 16
link sa ap delay 35000 jitter 1751 duplicate 21 reorder 4
habits clients 9792000 status 3168000 tick 4616000 images 68 trailing 44 reorders 1
at 253.169100 for 131.664685 sa us 0 5: network split
at 182.873759 for 1.729687 ap eu 1 13: network split
at 286.789040 for 144.952676 eu ap 1 9: network split
at 243.900349 for 19.855538 eu us 1 12: network split
at 145.580098 for 8.441790 eu sa 0 0: agent killed
at 62.696551 for 27.988733 sa ap 1 0: machine killed
at 62.049159 for 16.363189 eu ap 1 0: agent killed
at 10.443857 for 252.723367 ap us 0 13664000: PostgreSQL slow
at 160.703743 for 278.345948 us eu 2 5: network split
at 328.808208 for 11.622411 us eu 2 0: agent killed
