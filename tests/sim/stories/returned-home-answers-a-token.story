# A home is replaced while it is down, comes back with an older store, and answers a read whose token is of its
# successor's epoch.
bug TOKEN_AHEAD
breaks reads go forward
seed 1682
minutes 10
times 5
failover automatic
region us clock 6 postgres 2000 disk 2527
region eu clock -10 postgres 1000 disk 2025
region ap clock -50 postgres 4000 disk 859
region sa clock 59 postgres 2000 disk 1080 witness
class orders quorum home us replicas 7 allowed 7
class events async home us replicas 7 allowed 7
class accounts async home us replicas 7 allowed 7
link eu us delay 20000 jitter 1001 duplicate 0 reorder 0
link ap us delay 56000 jitter 2801 duplicate 0 reorder 0
link ap eu delay 60000 jitter 3001 duplicate 0 reorder 0
link sa us delay 79000 jitter 3951 duplicate 0 reorder 0
link sa eu delay 68000 jitter 3401 duplicate 0 reorder 0
link sa ap delay 25000 jitter 1251 duplicate 0 reorder 0
habits clients 660000 status 678000 tick 778000 images 83 trailing 58 reorders 0
at 356.181682 for 67.604837 eu ap 2 0: disk full
at 138.597250 for 32.144442 us sa 1 2858000: applies slowly
at 18.184283 for 78.665416 us eu 2 0: machine killed
at 99.895515 for 35.059920 us sa 2 0: link cut
at 145.585742 for 7.051467 ap us 0 0: machine killed
at 116.412853 for 71.003580 ap eu 0 0: operator hands the store over
at 388.402026 for 6.184956 eu sa 0 0: machine killed
at 196.294359 for 0.721170 us ap 2 35: operator dials its traffic
at 230.318827 for 65.371198 sa ap 2 0: machine killed
at 237.485573 for 73.798364 us ap 2 0: link cut
at 48.758117 for 42.997476 ap eu 0 0: operator hands the store over
at 254.807338 for 4.948873 ap eu 2 24: operator dials its traffic
at 253.629965 for 4.851039 ap sa 0 0: agent killed
at 54.919242 for 9.519210 ap us 0 0: agent killed
at 343.157704 for 40.541880 us ap 1 0: machine killed
at 331.994320 for 5.957699 sa ap 2 0: agent killed
at 123.404688 for 43.797015 ap us 2 0: operator drains it
at 255.507895 for 61.880776 sa us 0 0: disk full
at 71.492370 for 5.478526 eu us 0 0: machine killed
at 65.646988 for 29.265367 sa us 0 0: disk full
at 227.777697 for 4.315513 sa eu 1 0: link cut
at 98.184751 for 52.786936 us eu 1 0: operator drains it
at 118.956089 for 7.465411 sa eu 2 0: machine killed
at 204.579843 for 2.939628 sa eu 1 0: machine killed
at 311.967158 for 6.719355 us eu 2 0: agent killed
at 236.550279 for 10.262411 eu us 2 0: disk full
at 295.068912 for 0.171305 ap sa 2 0: agent killed
