#if defined(__aarch64__) && !defined(__ILP32__)
        .text

        /* Where a backtrace ends. The function and its argument are on the stack. */
        .globl  switch_begin
        .hidden switch_begin
        .type   switch_begin, %function
        .balign 16
switch_begin:
        .cfi_startproc
        .cfi_undefined x30
        hint    #36                     /* bti j */
        mov     x17, xzr                /* see switch_begun */
        ldp     x1, x0, [sp]
        mov     x30, xzr
        blr     x1
        brk     #1
        .cfi_endproc
        .size   switch_begin, . - switch_begin

        /* As in switch_x86_64.S. */
        .globl  switch_call_at
        .hidden switch_call_at
        .type   switch_call_at, %function
        .balign 16
switch_call_at:
        .cfi_startproc
        .cfi_signal_frame
        hint    #34                     /* bti c */
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        .cfi_def_cfa_register x29
        and     x9, x0, #-16
        mov     sp, x9
        mov     x0, x2
        blr     x1
        mov     sp, x29
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   switch_call_at, . - switch_call_at

        .section .note.gnu.property, "a", %note
        .balign 8
        .long   4                       /* the length of the name */
        .long   16                      /* of what follows it */
        .long   5                       /* NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000000              /* GNU_PROPERTY_AARCH64_FEATURE_1_AND */
        .long   4
        .long   1                       /* BTI */
        .long   0
#endif

        .section .note.GNU-stack, "", %progbits
