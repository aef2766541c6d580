#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <weir.h>

int main(void)
{
    weir_socket *s = NULL;

    printf("weir %s: %s\n", weir_version(), weir_strerror(WEIR_EDEADLINE));
    if (strcmp(weir_version(), WEIR_VERSION) != 0)
        return 1;
    return weir_socket_open(&s, AF_INET, SOCK_STREAM, 0) || weir_close(s);
}
