# A home's agent restarts and holds back its first snapshot while the lease before still runs: its edges go on with the
# session before in their tokens. Its heartbeats named the new one already, so a replica took the writes of those
# moments for applied, and served a read with such a token without them.
shows its agent runs again
seed 37764
minutes 10
times 1
failover automatic
region us clock 55000 postgres 4000 disk 1038
region eu clock -55000 postgres 2000 disk 1408
region ap clock 55000 postgres 1000 disk 3813
region sa clock -55000 postgres 5000 disk 3024
region af clock -55000 postgres 5000 disk 4387
class orders quorum home us replicas 31 allowed 31
class events async home us replicas 31 allowed 31
class accounts async home us replicas 3 allowed 3
link eu us delay 54000 jitter 2701 duplicate 0 reorder 0
link ap us delay 20000 jitter 1001 duplicate 0 reorder 0
link ap eu delay 101000 jitter 5051 duplicate 0 reorder 0
link sa us delay 30000 jitter 1501 duplicate 0 reorder 0
link sa eu delay 94000 jitter 4701 duplicate 0 reorder 0
link sa ap delay 85000 jitter 4251 duplicate 0 reorder 0
link af us delay 82000 jitter 4101 duplicate 0 reorder 0
link af eu delay 112000 jitter 5601 duplicate 0 reorder 0
link af ap delay 106000 jitter 5301 duplicate 0 reorder 0
link af sa delay 87000 jitter 4351 duplicate 0 reorder 0
habits clients 731000 status 255000 tick 234000 images 0 trailing 14 reorders 0
at 250.932076 for 11.417894 sa us 2 0: agent killed
at 254.686655 for 35.978118 eu us 1 1379000: disk slow
at 262.092878 for 5.551170 eu ap 0 0: disk full
at 262.174691 for 0.950639 us sa 0 0: agent killed
at 33.251717 for 1.179506 eu us 2 0: operator hands the store over
at 35.924514 for 1.199345 us af 2 688000: disk slow
at 57.104310 for 9.595497 us sa 0 0: disk full
at 60.204801 for 19.676819 ap af 1 0: isolated
at 123.395979 for 3.759327 us eu 1 24: operator dials its traffic
at 123.428621 for 0.564476 us af 1 0: disk full
at 226.957087 for 1.968045 eu af 1 0: disk full
at 234.327408 for 0.740699 af sa 2 0: isolated
at 236.059953 for 0.433579 us eu 0 250000: disk slow
at 238.624168 for 5.779770 eu sa 2 959000: disk slow
at 240.652347 for 16.740971 us sa 2 0: operator hands the store over
at 168.896758 for 31.056139 us ap 0 780000: disk slow
at 164.967534 for 4.253337 eu sa 0 0: isolated
at 23.729817 for 0.623987 us af 2 1467000: disk slow
at 109.947747 for 4.263781 sa ap 1 17: network split
at 113.463066 for 2.903874 eu sa 1 85: operator dials its traffic
at 115.783741 for 2.602177 eu ap 2 0: isolated
at 151.360294 for 36.094685 af sa 0 0: isolated
at 152.814619 for 23.317291 eu sa 2 46: operator dials its traffic
