#include "irsa/credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace podpass::irsa {
namespace {

const Session kSession{.account = "111122223333",
                       .arn = "arn:aws:sts::111122223333:assumed-role/r/s",
                       .userId = "AROAX:s",
                       .roleName = "r",
                       .roleArn = "arn:aws:iam::111122223333:role/r",
                       .issuedAt = 5,
                       .expires = 10,
                       .sourceIdentity = "me",
                       .tags = {{"k", "v"}},
                       .transitiveTags = {"k"}};

TEST(Credentials, HaveAwsFormsAndTellWhoTheyAre) {
  const CredentialKeys keys({Secret(std::string(32, 'm'))});
  const Credentials made = keys.mint(kSession);
  EXPECT_TRUE(made.accessKeyId.starts_with("ASIA"));
  EXPECT_EQ(made.accessKeyId.size(), 20u);
  EXPECT_EQ(made.secretAccessKey.reveal().size(), 40u);
  const Result<CredentialKeys::Known> known = keys.find("111122223333", made.accessKeyId, made.sessionToken);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->session.arn, kSession.arn);
  EXPECT_EQ(known->session.expires, 10);
  EXPECT_EQ(known->session.tags, kSession.tags);
  EXPECT_EQ(known->session.transitiveTags, kSession.transitiveTags);
  EXPECT_EQ(known->session.sourceIdentity, "me");
  EXPECT_TRUE(known->secretAccessKey == made.secretAccessKey);
}

TEST(Credentials, AreRefusedWhenTokenAndKeyDoNotBelongTogether) {
  const CredentialKeys keys({Secret(std::string(32, 'm'))}), others({Secret(std::string(32, 'o'))});
  const Credentials one = keys.mint(kSession), two = keys.mint(kSession);
  EXPECT_FALSE(keys.find("111122223333", one.accessKeyId, two.sessionToken));
  EXPECT_FALSE(others.find("111122223333", one.accessKeyId, one.sessionToken));
  EXPECT_FALSE(keys.find("111122223333", one.accessKeyId, {})) << "a session's key needs its token";
  EXPECT_FALSE(keys.find("111122223333", one.accessKeyId, Secret("not base64!")));
  EXPECT_FALSE(keys.find("111122223333", "ASIA", one.sessionToken));
  std::string changed(one.sessionToken.reveal());
  changed[20] = changed[20] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(keys.find("111122223333", one.accessKeyId, Secret(changed)));
}

TEST(Credentials, AnOldMasterStillVerifies) {
  const CredentialKeys before({Secret(std::string(32, 'o'))});
  const CredentialKeys after({Secret(std::string(32, 'n')), Secret(std::string(32, 'o'))});
  const Credentials made = before.mint(kSession);
  const Result<CredentialKeys::Known> known = after.find("111122223333", made.accessKeyId, made.sessionToken);
  ASSERT_TRUE(known);
  EXPECT_TRUE(known->secretAccessKey == made.secretAccessKey);
}

TEST(Credentials, TheAdministratorHasOneLongTermKeyForEachAccount) {
  const CredentialKeys keys({Secret(std::string(32, 'm'))});
  const Credentials admin = keys.administrator("111122223333");
  EXPECT_TRUE(admin.accessKeyId.starts_with("AKIA"));
  EXPECT_TRUE(admin.sessionToken.empty());
  EXPECT_EQ(keys.administrator("111122223333").accessKeyId, admin.accessKeyId);
  const Result<CredentialKeys::Known> known = keys.find("111122223333", admin.accessKeyId, {});
  ASSERT_TRUE(known);
  EXPECT_EQ(known->session.arn, "arn:aws:iam::111122223333:user/administrator");
  EXPECT_FALSE(keys.find("000000000000", admin.accessKeyId, {}));
}

TEST(Credentials, KeepTheirKeyInAFileOfTheOwnerAlone) {
  const std::filesystem::path directory = std::filesystem::path(testing::TempDir()) / "credentials-test";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  const std::filesystem::path file = directory / "sts.key";
  const auto first = CredentialKeys::openOrMake(file), second = CredentialKeys::openOrMake(file);
  ASSERT_TRUE(first && second);
  EXPECT_EQ((*first)->administrator("1").accessKeyId, (*second)->administrator("1").accessKeyId);
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  std::ofstream(file) << "c2hvcnQ=\n";
  EXPECT_FALSE(CredentialKeys::openOrMake(file));
  std::ofstream(file) << "\n";
  EXPECT_FALSE(CredentialKeys::openOrMake(file));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace podpass::irsa
