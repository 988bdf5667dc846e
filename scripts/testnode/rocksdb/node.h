// The node's databases, laid out as Polkadot lays out its own: full/ with 13
// column families, and a second, small one in full/parachains/db.
#pragma once

#include <rocksdb/db.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "block.h"

// Head is the newest block, and what the state holds as of it: the number of
// records and the XOR of the hashes of all (key, value) pairs, so that one lost
// or stale record is noticed.
struct Head {
  uint64_t number = 0;
  Hash hash{};
  uint64_t records = 0;
  Hash state{};

  std::string Encode() const;
  static bool Decode(std::string_view bytes, Head* head);
};

// Node throws std::runtime_error when a database fails or has a defect.
class Node {
 public:
  struct Options {
    bool create = false;
    bool read_only = false;  // replays the write-ahead log in memory and changes no file
    bool log = true;         // fill goes without a write-ahead log and flushes at its end
  };

  Node(const std::string& directory, const Options& options);
  ~Node();

  const Head& head() const { return head_; }

  // Append adds the next block and returns the bytes written.
  size_t Append();

  // Check verifies every link, body and state record.
  void Check();

  // Mutate gives a share of the state's records new values and returns how many.
  uint64_t Mutate(double percent);

  // Settle flushes and waits until no compaction is left to do.
  void Settle();

  uint64_t SizeOnDisk();

 private:
  rocksdb::ColumnFamilyHandle* column(int i) { return columns_[i]; }
  void CheckChain();
  void CheckState();
  void CheckParachains();

  std::string directory_;
  rocksdb::WriteOptions write_;
  std::unique_ptr<rocksdb::DB> full_;
  std::unique_ptr<rocksdb::DB> parachains_;
  std::vector<rocksdb::ColumnFamilyHandle*> columns_;
  Head head_;
};
