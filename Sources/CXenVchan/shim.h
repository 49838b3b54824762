#include <errno.h>
#include <libxenvchan.h>
#include <stdint.h>

/* What libxenvchan has no function for. All of it is in the page that the other side can write: each
 * thing is read once, and nothing is an address or a length. */

static inline void stubsave_vchan_forget_errno(void) { errno = 0; }
static inline int stubsave_vchan_errno(void) { return errno; }

/* The library leaves both as malloc gave them. A server goes on when its client has gone. */
static inline void stubsave_vchan_prepare(struct libxenvchan *vchan) {
  vchan->blocking = 0;
  vchan->server_persist = 1;
}

static inline uint8_t stubsave_vchan_client_live(struct libxenvchan *vchan) {
  return __atomic_load_n(&vchan->ring->cli_live, __ATOMIC_SEQ_CST);
}

static inline uint8_t stubsave_vchan_server_live(struct libxenvchan *vchan) {
  return __atomic_load_n(&vchan->ring->srv_live, __ATOMIC_SEQ_CST);
}

/* A bit that no side uses, in the byte by which a client asks for notifications. A client that begins
 * stores the byte anew (libxenvchan_client_init, Xen 4.2 to 4.22), and all else only sets or clears the other
 * bits: who finds the bit cleared has another client than before. Sets it; returns the byte from before. */
enum { stubsave_vchan_mark = 0x80 };
static inline uint8_t stubsave_vchan_mark_client(struct libxenvchan *vchan) {
  return __atomic_fetch_or(&vchan->ring->srv_notify, stubsave_vchan_mark, __ATOMIC_SEQ_CST);
}

/* What has been written, and was not read by the other side, is taken back. Only while nobody is
 * there: who reads at this moment would put its own index beyond the end. */
static inline void stubsave_vchan_take_back(struct libxenvchan *vchan) {
  struct ring_shared *ring = vchan->write.shr;
  uint32_t read = __atomic_load_n(&ring->cons, __ATOMIC_SEQ_CST);
  __atomic_store_n(&ring->prod, read, __ATOMIC_SEQ_CST);
}

static inline int stubsave_vchan_fits(struct libxenvchan_ring *ring) {
  uint32_t end = __atomic_load_n(&ring->shr->prod, __ATOMIC_SEQ_CST);
  uint32_t start = __atomic_load_n(&ring->shr->cons, __ATOMIC_SEQ_CST);
  return end - start <= (uint32_t)1 << ring->order;
}

/* Whether the indices of both rings can be. libxenvchan takes those that cannot for an empty ring, and a
 * full one, for ever. An honest peer may move its own index between the two loads, in the direction
 * that makes less of it; `end` is loaded first, so that what is read there is never too much. */
static inline int stubsave_vchan_is_whole(struct libxenvchan *vchan) {
  return stubsave_vchan_fits(&vchan->read) && stubsave_vchan_fits(&vchan->write);
}
