#include <stddef.h>
#include <stdint.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xen/io/console.h>

/* What a domain has put into its console's ring (xen/io/console.h) behind `taken`, at most `capacity`
 * bytes, copied once; -1 if its index is impossible, and then all is taken for read. `taken` is not read
 * from the ring again, where the domain may change it. */
static inline long stubsave_console_take(void *page, uint32_t *taken, void *bytes, size_t capacity) {
  struct xencons_interface *ring = (struct xencons_interface *)page;
  uint32_t produced = __atomic_load_n(&ring->out_prod, __ATOMIC_ACQUIRE);
  uint32_t count = produced - *taken;
  long result = -1;
  if (count <= sizeof ring->out) {
    if (count > capacity) count = (uint32_t)capacity;
    for (uint32_t index = 0; index < count; index++)
      ((char *)bytes)[index] = ((volatile char *)ring->out)[(*taken + index) & (sizeof ring->out - 1)];
    produced = *taken + count;
    result = count;
  }
  *taken = produced;
  /* The bytes are read before the domain may write over them, and it finds that before it is notified. */
  __atomic_store_n(&ring->out_cons, produced, __ATOMIC_SEQ_CST);
  return result;
}

/* Where whoever has served it before has come to. */
static inline uint32_t stubsave_console_taken(void *page) {
  return __atomic_load_n(&((struct xencons_interface *)page)->out_cons, __ATOMIC_ACQUIRE);
}

/* Reading and writing; the reference is that of every PV domain's console (GNTTAB_RESERVED_CONSOLE in
 * xen/grant_table.h), which libxl has given dom0. NULL and errno if it cannot be. */
static inline void *stubsave_console_map(xengnttab_handle *grants, uint32_t domid) {
  return xengnttab_map_grant_ref(grants, domid, 0, 3 /* PROT_READ | PROT_WRITE */);
}
