#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "base/text.h"
#include "crypto/certificate.h"
#include "crypto/key.h"
#include "crypto/test_pem.h"

namespace podpass::crypto {
namespace {

using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;

X509Ptr parsed(const std::string& pem) {
  BIO* source = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509Ptr certificate(PEM_read_bio_X509(source, nullptr, nullptr, nullptr), X509_free);
  BIO_free(source);
  return certificate;
}

struct TempDirectory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-crypto-" + randomUuid());
  ~TempDirectory() { std::filesystem::remove_all(path); }
};

TEST(KeyPair, SignsAndVerifiesInTheJoseFormOfEachKeyType) {
  struct Case {
    KeyType type;
    const char* algorithm;
    std::size_t signatureBytes;
  };
  for (const Case& c : {Case{KeyType::Rsa2048, "RS256", 256}, Case{KeyType::P256, "ES256", 64}, Case{KeyType::P384, "ES384", 96},
                        Case{KeyType::P521, "ES512", 132}, Case{KeyType::Ed25519, "EdDSA", 64}}) {
    SCOPED_TRACE(c.algorithm);
    const Result<KeyPair> key = KeyPair::generate(c.type);
    ASSERT_TRUE(key);
    EXPECT_TRUE(key->hasPrivate());
    EXPECT_EQ(key->algorithm(), c.algorithm);
    const Result<std::string> signature = key->sign("message");
    ASSERT_TRUE(signature);
    EXPECT_EQ(signature->size(), c.signatureBytes);
    EXPECT_TRUE(key->verify("message", *signature));
    EXPECT_FALSE(key->verify("Message", *signature));
    EXPECT_FALSE(key->verify("message", signature->substr(1)));
    EXPECT_FALSE(key->verify("message", ""));

    const Result<KeyPair> again = KeyPair::fromPrivatePem(key->privatePem().reveal());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->publicDer(), key->publicDer());
    for (const Result<KeyPair>& half : {KeyPair::fromPublicPem(key->publicPem()), KeyPair::fromPublicDer(key->publicDer())}) {
      ASSERT_TRUE(half);
      EXPECT_FALSE(half->hasPrivate());
      EXPECT_TRUE(half->verify("message", *signature));
      EXPECT_FALSE(half->sign("message"));
    }
  }
}

TEST(KeyPair, RefusesEcdsaSignaturesThatAreNotTwoNumbersInRange) {
  const Result<KeyPair> key = KeyPair::generate(KeyType::P256);
  const std::string good = *key->sign("m"), zero(32, '\0'), huge(32, '\xff');
  EXPECT_FALSE(key->verify("m", good.substr(32) + good.substr(0, 32))) << "r and s swapped";
  EXPECT_FALSE(key->verify("m", zero + good.substr(32))) << "r is 0";
  EXPECT_FALSE(key->verify("m", good.substr(0, 32) + huge)) << "s is beyond the order";
  EXPECT_FALSE(key->verify("m", zero + zero));
}

TEST(KeyPair, IsMadeFromJwkComponentsAndRefusesBadOnes) {
  const KeyPair rsa = *KeyPair::generate(KeyType::Rsa2048), ec = *KeyPair::generate(KeyType::P384);
  const auto [n, e] = *rsa.rsaComponents();
  const auto [x, y] = *ec.ecPoint();
  EXPECT_EQ(KeyPair::fromRsaComponents(n, e)->publicDer(), rsa.publicDer());
  EXPECT_EQ(KeyPair::fromEcPoint("P-384", x, y)->publicDer(), ec.publicDer());
  std::string offCurve = y;
  offCurve.back() = static_cast<char>(offCurve.back() ^ 1);
  EXPECT_FALSE(KeyPair::fromEcPoint("P-384", x, offCurve)) << "a point off the curve";
  EXPECT_FALSE(KeyPair::fromEcPoint("P-256", x, y)) << "coordinates of another width";
  EXPECT_FALSE(KeyPair::fromEcPoint("secp256k1", x, y));
  EXPECT_FALSE(KeyPair::fromRsaComponents(n.substr(0, 128), e)) << "1024 bits";
  EXPECT_FALSE(KeyPair::fromRsaComponents(std::string(5000, '\xff'), e)) << "40000 bits";
  EXPECT_FALSE(KeyPair::fromRsaComponents(n, ""));
  EXPECT_FALSE(KeyPair::fromEd25519("short"));
  for (const char* bad : {"", "no pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}) {
    EXPECT_FALSE(KeyPair::fromPrivatePem(bad));
    EXPECT_FALSE(KeyPair::fromPublicPem(bad));
  }
}

// A prime of 4096 bits.
constexpr const char* kPrime =
    "wdj2i/CwOvIuF3iHjvDultxPequsccF7E0G0X0FJjRhSUPanvceMKbFEYuSX8u505fgCf57jZrc4+2gWICBm2IJ8YsJjzXQgeI+S1pcQbSElC+VgEar/WCDm"
    "xmTF+EfVcrpvaDK+70pF/u59vtCQFF/QzUdtWueRZJI8aadZU1j2qcjBpfhQXAp+A69qaZgE/M/OclKPhMQmD4Ya2v5r9Zc0iaq4UMwyenBmuIW+Fbt8Jug+"
    "bepqiQD4UAraZbmH30C+LrpHppkAnoTdubEuRDspYy9q3nwzHgR3F59ZOH7Q9N0ms1Hqy8d/9A9eZPdkYwOIn3nlMm126u+iyUT9NUQoD8QupOqLsE/crQFd"
    "vg17SyWJEdIgUiIVCw8JI3DGMFONU8vE9igcbARGeg57g4QNOM7Y/MDxNvpuu8tX/4MPxd/pYcbLXnLWyRb8V4w88j2m0JIKLpi8hTSoD0coukSCw9fb0zgj"
    "Mg0eDT9vvTLfUq8wKLvd1nxhHzEJzY/e8NRGOOshFTHCpTe/Kl0Dn5CxAEmDGO5Dutl24tgHHEZ7SVsaMfTXsTpsgZYgI8Svrr4D49W4tMs5HCBFhsoKiGde"
    "gLRWzNVTOjTP4YTg0vOAR3B1NBLbZUNoFFZNYZgxmW34e0z9yvI4vE3EBghNpWYY9yfKzHWBMR+YA9iej6U=";

TEST(KeyPair, TakesAnRsaModulusWithoutWorkThatItsMakerChooses) {
  // To find out that a modulus is prime takes OpenSSL seconds. Who publishes one hurts himself only, so that nobody here looks.
  const std::string prime = *base64Decode(kPrime), e("\x01\x00\x01", 3);
  ASSERT_EQ(prime.size(), 512u);
  const Result<KeyPair> key = KeyPair::fromRsaComponents(prime, e);
  ASSERT_TRUE(key) << key.error().sentence;
  EXPECT_EQ(key->bits(), 4096);
  EXPECT_FALSE(key->verify("m", std::string(512, 'x')));

  std::string even = prime;
  even.back() = static_cast<char>(even.back() & ~1);
  const std::string one("\x01", 1), two("\x02", 1), three("\x03", 1), zero(1, '\0');
  EXPECT_FALSE(KeyPair::fromRsaComponents(even, e)) << "an even modulus";
  for (const std::string& bad : {zero, one, two, std::string(8, '\0')}) EXPECT_FALSE(KeyPair::fromRsaComponents(prime, bad));
  EXPECT_TRUE(KeyPair::fromRsaComponents(prime, three));
  EXPECT_FALSE(KeyPair::fromRsaComponents(std::string(300, '\0') + prime.substr(300), e)) << "1696 bits, padded";
}

TEST(KeyPair, ReadsThePkcs1FormOfAnRsaPublicKey) {
  const KeyPair key = *KeyPair::generate(KeyType::Rsa2048);
  BIO* sink = BIO_new(BIO_s_mem());
  unsigned char* der = nullptr;
  const int size = i2d_PublicKey(key.native(), &der);
  PEM_write_bio(sink, "RSA PUBLIC KEY", "", der, size);
  OPENSSL_free(der);
  char* text = nullptr;
  const long length = BIO_get_mem_data(sink, &text);
  const Result<KeyPair> read = KeyPair::fromPublicPem(std::string_view(text, static_cast<std::size_t>(length)));
  BIO_free(sink);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->publicDer(), key.publicDer());
}

TEST(PemKeys, AreReadAsOpensslAndSshKeygenWriteThem) {
  const std::string rsa = readPemKeys(test::kSshRsa)->front().publicDer();
  struct Case {
    std::string_view pem;
    const char* algorithm;
    bool isPrivate;
  };
  for (const Case& c :
       {Case{test::kSshRsa, "RS256", true}, Case{test::kSshRsaPublicPkcs1, "RS256", false}, Case{test::kSshRsaPublicSpki, "RS256", false},
        Case{test::kSshEc, "ES256", true}, Case{test::kEcWithParameters, "ES384", true}, Case{test::kEd25519, "EdDSA", true}}) {
    const Result<std::vector<KeyPair>> keys = readPemKeys(c.pem);
    ASSERT_TRUE(keys) << keys.error().sentence;
    ASSERT_EQ(keys->size(), 1u);
    EXPECT_EQ(keys->front().algorithm(), c.algorithm);
    EXPECT_EQ(keys->front().hasPrivate(), c.isPrivate);
    EXPECT_EQ(keys->front().publicDer() == rsa, keys->front().algorithm() == "RS256") << "one key in four forms";
  }
  const std::string several = "# comment\n" + std::string(test::kSshEc) + "text between\n" + std::string(test::kSshRsaPublicSpki);
  EXPECT_EQ(readPemKeys(several)->size(), 2u);
  const IssuedCertificate certificate =
      *Authority::make("ca", std::chrono::system_clock::now())->issue({.commonName = "a"}, std::chrono::system_clock::now());
  EXPECT_EQ(readPemKeys(certificate.certificatePem)->size(), 1u) << "a certificate's key";
  EXPECT_EQ(readPemKeys(certificate.keyPem.reveal())->front().publicDer(), readPemKeys(certificate.certificatePem)->front().publicDer());
}

TEST(PemKeys, OfOtherFormatsAreRefusedWithTheCommandThatConvertsThem) {
  struct Case {
    const char* text;
    const char* fix;
  };
  for (const Case& c :
       {Case{"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "ssh-keygen -p"},
        Case{"ssh-rsa AAAA me@here\n", "ssh-keygen -e"}, Case{"---- BEGIN SSH2 PUBLIC KEY ----\n", "ssh-keygen -e"},
        Case{"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "openssl pkey"},
        Case{"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "openssl pkey"},
        Case{"", ""}, Case{"rubbish", ""}, Case{"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ""}}) {
    const Result<std::vector<KeyPair>> keys = readPemKeys(c.text);
    ASSERT_FALSE(keys) << c.text;
    EXPECT_NE(keys.error().fix.find(c.fix), std::string::npos);
  }
  const std::string cut(test::kSshRsa.substr(0, 900));
  EXPECT_FALSE(readPemKeys(cut)) << "truncated";
  EXPECT_FALSE(readPemKeys(std::string((1u << 20) + 1, ' ')));
}

TEST(KeyPair, IsUsedByManyThreadsAtOnce) {
  const KeyPair key = *KeyPair::generate(KeyType::P256);
  std::atomic<int> good = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) good += key.verify("m", *key.sign("m")) ? 1 : 0;
    });
  threads.clear();
  EXPECT_EQ(good, 200);
}

TEST(Authority, IssuesCertificatesThatItsRootVouchesFor) {
  const WallTime now = std::chrono::system_clock::now();
  const Result<Authority> authority = Authority::make("podpass-ca", now);
  ASSERT_TRUE(authority);
  const Result<IssuedCertificate> server = authority->issue(
      {.commonName = "podpass", .dnsNames = {"localhost", "kubernetes.default.svc"}, .addresses = {"127.0.0.1", "::1"}, .forServer = true},
      now);
  const Result<IssuedCertificate> client = authority->issue({.commonName = "admin", .organizations = {"system:masters"}}, now);
  ASSERT_TRUE(server);
  ASSERT_TRUE(client);
  const X509Ptr root = parsed(authority->certificatePem()), leaf = parsed(server->certificatePem), user = parsed(client->certificatePem);
  EXPECT_EQ(X509_verify(leaf.get(), X509_get0_pubkey(root.get())), 1);
  EXPECT_EQ(X509_check_issued(root.get(), leaf.get()), X509_V_OK);
  EXPECT_EQ(X509_check_ca(root.get()), 1);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_check_host(leaf.get(), "localhost", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(leaf.get(), "elsewhere", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "::1", 0), 1);
  EXPECT_EQ(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_SERVER, 0), 1);
  EXPECT_EQ(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_CLIENT, 0), 0);
  EXPECT_EQ(X509_check_purpose(user.get(), X509_PURPOSE_SSL_CLIENT, 0), 1);
  EXPECT_EQ(X509_check_purpose(user.get(), X509_PURPOSE_SSL_SERVER, 0), 0);
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber(leaf.get()), X509_get0_serialNumber(user.get())), 0);
  const std::time_t halfAnHourAgo = std::chrono::system_clock::to_time_t(now) - 1800;
  EXPECT_LT(ASN1_TIME_cmp_time_t(X509_get0_notBefore(leaf.get()), halfAnHourAgo), 0) << "a peer whose clock is behind must accept it";
  EXPECT_FALSE(validFrom("-----BEGIN CERTIFICATE-----\n"));
  EXPECT_EQ(KeyPair::fromPublicPem(server->certificatePem)->publicDer(), KeyPair::fromPrivatePem(server->keyPem.reveal())->publicDer());
}

TEST(Authority, RefusesNamesThatWouldBecomeOtherNames) {
  const WallTime now = std::chrono::system_clock::now();
  const Authority authority = *Authority::make("ca", now);
  EXPECT_FALSE(authority.issue({.commonName = "a", .dnsNames = {"good,DNS:evil"}}, now));
  EXPECT_FALSE(authority.issue({.commonName = "a", .addresses = {"not an address"}}, now));
  EXPECT_FALSE(authority.issue({.commonName = std::string(65, 'a')}, now)) << "dropping the name would make it nobody's";
  EXPECT_FALSE(authority.issue({.commonName = "a", .organizations = {std::string(65, 'g')}}, now));
}

TEST(Authority, IsMadeOnceAndReadAgainWithItsKeyPrivate) {
  const TempDirectory directory;
  std::filesystem::create_directories(directory.path);
  const WallTime now = std::chrono::system_clock::now();
  const Result<Authority> first = Authority::openOrMake(directory.path, "ca", now),
                          second = Authority::openOrMake(directory.path, "ca", now);
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_EQ(first->certificatePem(), second->certificatePem());
  struct stat status {};
  ASSERT_EQ(stat((directory.path / "ca.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  std::filesystem::remove(directory.path / "ca.key");
  EXPECT_FALSE(Authority::openOrMake(directory.path, "ca", now)) << "a lost key must not silently become a new authority";
  const Authority other = *Authority::make("ca", now);
  EXPECT_FALSE(Authority::load(other.certificatePem(), KeyPair::generate(KeyType::P256)->privatePem()));
}

}  // namespace
}  // namespace podpass::crypto
