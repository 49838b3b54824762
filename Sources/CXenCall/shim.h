#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <xencall.h>

/* A domctl (xen/include/public/domctl.h): command, version and domid; zeros else. What `getdomaininfo`
 * gives begins behind the header of 16 bytes: a domid, two bytes of padding, and flags.
 * Returns 0 or -errno. */
static inline long stubsave_domctl(xencall_handle *handle, uint32_t command, uint32_t version,
                                   uint16_t domid, uint16_t *found, uint32_t *flags) {
  enum { hypercall = 36, header = 16, bytes = 16 + 128 };
  unsigned char *memory = xencall_alloc_buffer(handle, bytes);
  if (!memory) return -ENOMEM;
  memset(memory, 0, bytes);
  memcpy(memory, &command, 4);
  memcpy(memory + 4, &version, 4);
  memcpy(memory + 8, &domid, 2);
  long result = xencall1(handle, hypercall, (uint64_t)(uintptr_t)memory);
  if (result < 0) result = -errno;
  memcpy(found, memory + header, 2);
  memcpy(flags, memory + header + 4, 4);
  xencall_free_buffer(handle, memory);
  return result < 0 ? result : 0;
}
