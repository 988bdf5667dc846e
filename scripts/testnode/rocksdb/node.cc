#include "node.h"

#include <rocksdb/convenience.h>
#include <rocksdb/write_batch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace {

// Columns as sc-client-db numbers them.
enum Column { kMeta = 0, kState = 1, kStateMeta = 2, kKeyLookup = 3, kHeader = 4, kBody = 5, kJustifications = 6, kColumns = 13 };

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kJustificationEvery = 512;  // a column written rarely is what makes a node's logs pile up
const char kHeadKey[] = "best";

void Must(const rocksdb::Status& status, const std::string& what) {
  if (!status.ok()) throw std::runtime_error(what + ": " + status.ToString());
}

void Require(bool ok, const std::string& defect) {
  if (!ok) throw std::runtime_error(defect);
}

Hash RecordHash(const rocksdb::Slice& key, const rocksdb::Slice& value) {
  return Sha256(key.ToString() + value.ToString());
}

void Xor(Hash* sum, const Hash& hash) {
  for (size_t i = 0; i < hash.size(); i++) (*sum)[i] ^= hash[i];
}

rocksdb::Options DatabaseOptions(bool create) {
  rocksdb::Options options;
  options.create_if_missing = create;
  options.create_missing_column_families = create;
  options.compression = rocksdb::kSnappyCompression;
  options.target_file_size_base = 64 * kMiB;
  options.write_buffer_size = 64 * kMiB;
  options.level_compaction_dynamic_level_bytes = true;
  options.bytes_per_sync = kMiB;
  options.keep_log_file_num = 1;
  options.max_background_jobs = 2;
  return options;
}

std::unique_ptr<rocksdb::DB> Open(const std::string& path, const Node::Options& how,
                                  const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                                  std::vector<rocksdb::ColumnFamilyHandle*>* handles) {
  rocksdb::DB* db = nullptr;
  rocksdb::DBOptions options = DatabaseOptions(how.create);
  Must(how.read_only ? rocksdb::DB::OpenForReadOnly(options, path, families, handles, &db)
                     : rocksdb::DB::Open(options, path, families, handles, &db),
       "open " + path);
  return std::unique_ptr<rocksdb::DB>(db);
}

}  // namespace

std::string Head::Encode() const {
  std::string out = BigEndian(number);
  out.append(View(hash)).append(BigEndian(records)).append(View(state));
  return out;
}

bool Head::Decode(std::string_view bytes, Head* head) {
  if (bytes.size() != 80) return false;
  head->number = FromBigEndian(bytes);
  memcpy(head->hash.data(), bytes.data() + 8, 32);
  head->records = FromBigEndian(bytes.substr(40));
  memcpy(head->state.data(), bytes.data() + 48, 32);
  return true;
}

Node::Node(const std::string& directory, const Options& how) : directory_(directory) {
  write_.disableWAL = !how.log;
  const std::string full = directory + "/full", parachains = full + "/parachains/db";
  if (how.create) std::filesystem::create_directories(parachains);

  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (int i = 0; i < kColumns; i++) families.emplace_back("col" + std::to_string(i), DatabaseOptions(how.create));
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, DatabaseOptions(how.create));  // RocksDB insists on it
  full_ = Open(full, how, families, &columns_);

  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  parachains_ = Open(parachains, how, {{rocksdb::kDefaultColumnFamilyName, DatabaseOptions(how.create)}}, &handles);
  for (auto* handle : handles) parachains_->DestroyColumnFamilyHandle(handle);

  std::string value;
  rocksdb::Status found = full_->Get({}, column(kMeta), kHeadKey, &value);
  if (found.IsNotFound()) {
    Require(how.create, full + " holds no chain");
    return;
  }
  Must(found, "read the head of " + full);
  Require(Head::Decode(value, &head_), "the head of " + full + " is malformed");
}

Node::~Node() {
  for (auto* handle : columns_) full_->DestroyColumnFamilyHandle(handle);
}

size_t Node::Append() {
  Block block = MakeBlock(head_.number + 1, head_.hash);
  const std::string number = BigEndian(block.header.number);
  const std::string key = number + std::string(View(block.hash));

  Head head = head_;
  head.number = block.header.number;
  head.hash = block.hash;
  head.records += block.state.size();

  rocksdb::WriteBatch batch;
  for (const auto& [k, v] : block.state) {
    batch.Put(column(kState), k, v);
    Xor(&head.state, RecordHash(k, v));
  }
  batch.Put(column(kHeader), key, block.header.Encode());
  batch.Put(column(kBody), key, block.body);
  batch.Put(column(kKeyLookup), number, key);
  batch.Put(column(kKeyLookup), rocksdb::Slice(View(block.hash).data(), 32), key);
  batch.Put(column(kStateMeta), number, key.substr(0, 24));
  if (block.header.number % kJustificationEvery == 1) batch.Put(column(kJustifications), key, block.body);
  batch.Put(column(kMeta), kHeadKey, head.Encode());
  Must(full_->Write(write_, &batch), "append block " + std::to_string(head.number));
  Must(parachains_->Put(write_, number, rocksdb::Slice(View(block.hash).data(), 32)),
       "append availability of block " + std::to_string(head.number));
  head_ = head;
  return batch.GetDataSize();
}

void Node::Check() {
  CheckChain();
  CheckState();
  CheckParachains();
}

void Node::CheckChain() {
  std::unique_ptr<rocksdb::Iterator> headers(full_->NewIterator({}, column(kHeader)));
  std::unique_ptr<rocksdb::Iterator> bodies(full_->NewIterator({}, column(kBody)));
  bodies->SeekToFirst();
  uint64_t height = 0;
  Hash parent{};
  for (headers->SeekToFirst(); headers->Valid(); headers->Next(), bodies->Next()) {
    const std::string block = "block " + std::to_string(++height);
    Header header;
    Require(Header::Decode(headers->value().ToStringView(), &header), block + " is malformed");
    const Hash hash = Sha256(headers->value().ToStringView());
    const std::string key = BigEndian(height) + std::string(View(hash));
    Require(headers->key() == key && header.number == height, block + " is missing, or its hash is wrong");
    Require(header.parent == parent, block + " does not link to its parent");
    Require(bodies->Valid() && bodies->key() == key, block + " has no body");
    Require(Sha256(bodies->value().ToStringView()) == header.body, block + " has another body than its header says");
    std::string found;
    for (rocksdb::Slice by : {rocksdb::Slice(key.data(), 8), rocksdb::Slice(key.data() + 8, 32)}) {
      Must(full_->Get({}, column(kKeyLookup), by, &found), "look up " + block);
      Require(found == key, "the lookup of " + block + " leads elsewhere");
    }
    parent = hash;
  }
  Must(headers->status(), "read headers");
  Must(bodies->status(), "read bodies");
  Require(height == head_.number && parent == head_.hash,
          "the chain ends at block " + std::to_string(height) + ", the head is " + std::to_string(head_.number));
}

void Node::CheckState() {
  std::unique_ptr<rocksdb::Iterator> it(full_->NewIterator({}, column(kState)));
  uint64_t records = 0;
  Hash state{};
  for (it->SeekToFirst(); it->Valid(); it->Next(), records++) Xor(&state, RecordHash(it->key(), it->value()));
  Must(it->status(), "read the state");
  Require(records == head_.records,
          "the state has " + std::to_string(records) + " records of " + std::to_string(head_.records));
  Require(state == head_.state, "a record of the state has another value than the head says");
}

// The chain is written before the parachains' database, so at any one moment
// the latter is level with it or one block behind. Anything else was cut at two
// moments.
void Node::CheckParachains() {
  std::unique_ptr<rocksdb::Iterator> it(parachains_->NewIterator({}));
  uint64_t height = 0;
  std::string found;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const std::string block = "block " + std::to_string(++height);
    Require(it->key() == BigEndian(height), "the parachains' database lacks " + block);
    if (height > head_.number) break;
    Must(full_->Get({}, column(kKeyLookup), it->key(), &found), "look up " + block);
    Require(it->value() == rocksdb::Slice(found.data() + 8, 32), "the parachains' database has another " + block);
  }
  Must(it->status(), "read the parachains' database");
  Require(height == head_.number || height + 1 == head_.number,
          "the parachains' database is at block " + std::to_string(height) + " and the chain at " +
              std::to_string(head_.number) + ": they were not cut at one moment");
}

uint64_t Node::Mutate(double percent) {
  Random random(head_.number ^ head_.state[0]);
  uint64_t changed = 0;
  rocksdb::WriteBatch batch;
  Head head = head_;
  auto write = [&] {
    batch.Put(column(kMeta), kHeadKey, head.Encode());
    Must(full_->Write(write_, &batch), "mutate");
    batch.Clear();
    head_ = head;
  };
  std::unique_ptr<rocksdb::Iterator> it(full_->NewIterator({}, column(kState)));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (static_cast<double>(random.Next() >> 11) * 100 >= percent * static_cast<double>(1ull << 53)) continue;
    const std::string value = StateValue(&random);
    Xor(&head.state, RecordHash(it->key(), it->value()));
    Xor(&head.state, RecordHash(it->key(), value));
    batch.Put(column(kState), it->key(), value);
    changed++;
    if (batch.Count() >= 1000) write();
  }
  Must(it->status(), "read the state");
  write();
  return changed;
}

void Node::Settle() {
  Must(full_->Flush({}, columns_), "flush the chain");
  Must(parachains_->Flush({}), "flush the parachains' database");
  for (bool busy = true; busy;) {
    busy = false;
    for (const char* property : {"rocksdb.compaction-pending", "rocksdb.num-running-compactions", "rocksdb.mem-table-flush-pending"}) {
      for (auto* family : columns_) {
        uint64_t n = 0;
        busy |= full_->GetIntProperty(family, property, &n) && n > 0;
      }
    }
    if (busy) usleep(50'000);
  }
}

uint64_t Node::SizeOnDisk() {
  uint64_t size = 0;
  for (auto* family : columns_) {
    uint64_t n = 0;
    if (full_->GetIntProperty(family, "rocksdb.total-sst-files-size", &n)) size += n;
  }
  return size;
}
