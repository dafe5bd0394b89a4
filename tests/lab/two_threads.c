/* One thread has the kernel write into pages that are not there yet, the others read them meanwhile. Argument: seconds. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define READERS 3
#define PAGE 4096L
#define PAGES 4096L

static char *volatile wanted;
static volatile int ended;

static void *reader(void *nothing)
{
	while (!ended)
		(void)*(volatile char *)wanted;
	return nothing;
}

int main(int count, char **arguments)
{
	char *region = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int folder = open("/", O_RDONLY);
	pthread_t readers[READERS];
	long rounds = 0, wrong = 0;

	if (count != 2 || region == MAP_FAILED || folder < 0)
		return 2;
	/* Where reads are at random, fault-ahead.patch leaves them the page of zeros. */
	madvise(region, PAGES * PAGE, MADV_RANDOM);
	wanted = region;
	for (int i = 0; i < READERS; i++)
		if (pthread_create(&readers[i], 0, reader, 0))
			return 2;
	for (time_t end = time(0) + atoi(arguments[1]); time(0) < end; rounds++) {
		madvise(region, PAGES * PAGE, MADV_DONTNEED);
		/* 64 bytes in: the form that has been seen to end a kernel. */
		for (char *page = region; page < region + PAGES * PAGE; page += PAGE) {
			wanted = page;
			if (fstat(folder, (struct stat *)(page + 64)))
				return 2;
		}
	}
	ended = 1;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], 0);

	/* What nobody has written to is the page of zeros, which all processes share. */
	madvise(region, PAGES * PAGE, MADV_DONTNEED);
	for (int i = 0; i < PAGE; i++)
		wrong += region[i] != 0;
	printf("%ld rounds, %ld wrong\n", rounds, wrong);
	return wrong != 0;
}
