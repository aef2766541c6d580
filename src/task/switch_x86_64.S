#if defined(__x86_64__) && !defined(__ILP32__)
        .text

        /* Where a backtrace ends. The stack is aligned, with the function and its argument on it.
         * Valgrind goes on with what lies there as a return address, unless it is zero. */
        .globl  switch_begin
        .hidden switch_begin
        .type   switch_begin, @function
        .balign 16
switch_begin:
        .cfi_startproc
        .cfi_undefined %rip
        endbr64
        xorl    %edx, %edx              /* see switch_begun */
        movq    (%rsp), %rax
        movq    8(%rsp), %rdi
        movq    $0, (%rsp)
        callq   *%rax
        ud2
        .cfi_endproc
        .size   switch_begin, . - switch_begin

        /* The frame is called one of a signal: a debugger then does not mind that it lies on
         * another stack than the one that it called. */
        .globl  switch_call_at
        .hidden switch_call_at
        .type   switch_call_at, @function
        .balign 16
switch_call_at:
        .cfi_startproc
        .cfi_signal_frame
        endbr64
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        movq    %rdi, %rsp
        andq    $-16, %rsp
        movq    %rdx, %rdi
        callq   *%rsi
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        retq
        .cfi_endproc
        .size   switch_call_at, . - switch_call_at

        /* Indirect branch tracking, and not shadow stacks: the linker turns those off in whatever
         * has this in it. */
        .section .note.gnu.property, "a", @note
        .balign 8
        .long   4                       /* the length of the name */
        .long   16                      /* of what follows it */
        .long   5                       /* NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002              /* GNU_PROPERTY_X86_FEATURE_1_AND */
        .long   4
        .long   1                       /* IBT */
        .long   0
#endif

        .section .note.GNU-stack, "", @progbits
