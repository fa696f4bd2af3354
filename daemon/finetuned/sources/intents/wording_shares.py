"""
The sentences of the training set for Samba shares. Form as in ``wording``.
"""

from __future__ import annotations

SHARE_CREATE = """
@MK [a|a new|the|] [samba |smb |network |file |] share [called|named|with the name|] {share} [at
|for|on|in
|with path|under|pointing to|serving] {path}
@MK [a|a new|the|] [samba |smb |network |file |] share [at|for|on|from|of] {path} [called|named|as
|with the name|under the name] {share}
[share|export|publish|expose|serve|provide] [the|] [@DIR|] {path} [as|under the name|with the
 name|under|named] {share}
[share|export|publish|expose|offer|provide] {path} [over|via|through|with|using|on] [samba|smb
|SMB|Samba|the network
|the file server] [as|named|called|under the name] {share}
[make|turn|convert] {path} [into|to] [a|a new|the] [samba |network |file |] share [called|named
|] {share}
[make|let|set] [@DIR|] {path} [be available|available|accessible|reachable|visible] [over the
 network|in the network
|via samba|over smb|on the lan|to everyone|] as {share}
[add|define|configure|enter|put] [a|the|] share {share} [to|in] [samba|the samba config|smb.conf
|the file server]
 [with|for|at] [path|] {path}
[set up|start|open|launch|enable|begin] [file sharing|sharing|a share] [for|of] {path} [as|named
|called|with name] {share}
[set up|open|configure|define|install|establish] {share} as a [samba|network|file|smb|] share
 [for|of|at|with] {path}
[use|take] {path} [for|as] [the|a|] [new|] share {share}
[call|name] the [new|] share {share} , [its path is|it lives at|it is at|path|located in|it
 uses] {path}
[connect|link|map|mount|attach|bind] {path} [to|as] [the|a] [samba|network|] share [name|] {share}
samba [share|add|new]: {share} [->|at|=] {path}
share [add|create|new]: {share} {path}
= [we|I] [need|want|would like] [a|a new|] [samba |network |file |] share [called|named|]
 {share} [at|for|in|on] {path}
= [we|I] [need|want] {path} [shared|exported|available|published] [as|under the name] {share}
= {path} [should|must|has to|needs to|shall] [be|become] [shared|exported|available|a share|the
 share] [as|named
|called|with the name] {share}
= [users|clients|everyone|colleagues|windows machines] [should|must|need to] [find|reach|get
|access] {path} [under|as
|via|through|on] [the share|the name|] {share}
= [share|the share] {share} [should|must|has to|needs to] [point to|serve|use|contain|live at|be
 at|offer] {path}
= [a|the] [new|] share {share} [is needed|is wanted|should exist|has to exist] [at|for|in|on]
 {path}
= there [should|must|shall|needs to] be a [network |samba |] share [called|named|] {share} [at
|for|with|on|over] {path}
= [new|] share : {share} , [path|directory|folder|location] : {path}
= {share} is [the name of|to be] [a|our] new share [, the path is|at|for|, its folder is] {path}
= the [@DIR|] {path} [gets|needs|should get|should have] [a share|the share name|the network
 name] [called|named|] {share}
= can [you share|samba serve|we share|samba offer] {path} as {share} [?|]
[with|for] the [directory|folder] {path} [create|make|set up|we need|build] [a|the] share
 [called|named|] {share}
[have|let] [samba|the server|the file server] [share|serve|export|offer|show] {path} as {share}
[under|with] the [name|share name] {share} [share|export|offer|publish|provide] [the|] [@DIR|]
 {path}
[for|as] the [new|] share {share} [use|take|export|we use] {path}
[build|do|arrange] [a|the] share [on top of|over|around|on] {path} [and call it|and name it
|named|, name|called] {share}
[set|put|place|install] [the|a] share {share} [on|over|in front of|on top of] {path}
= the files [in|under|at|below] {path} [should|must] be [on|in] [the network|samba] [as|under
|called] {share}
"""

SHARE_GRANT = """
[give|grant|allow|provide|offer] [user|] {user} access to [the|] {share} [share|folder|network
 share|samba share]
[give|grant|allow] [user|] {user} access to [the|] [share|samba share|shared folder|network
 share] {share}
[give|grant] access [on|to|for] [the|] [share {share}|{share} share] to {user}
[let|allow|permit|enable|authorize] {user} [to|] [use|access|open|read|enter|see|work on|mount]
 [the|] [share {share}
|{share} share]
[let|allow] {user} [in|on|onto|into] [the|] [share {share}|{share} share]
[give|grant|assign] {user} [rights|permissions|permission|privileges|read access|write access
|full access]
 [on|for|to] [the|] [share {share}|{share} share]
[share|open] {share} [with|to|for] {user}
[open|unlock|enable|release] [the|] [share {share}|{share} share] [for|to] [user|] {user}
[add|put|include|enter] {user} [to|on|in|among] [the|] [allowed users|users|valid users|access
 list|people|permissions]
 [of|for|on] [the|] [share {share}|{share} share]
[make|set] [the|] [share {share}|{share} share] [accessible|available|open|readable|visible
|writable] [to|for|by] {user}
[make sure|ensure|see to it] [that|] {user} [can|is able to|is allowed to|may] [use|access|open
|reach|enter|see] [the|]
 [share {share}|{share} share]
[authorize|admit|whitelist|entitle|approve] {user} [for|on|to] [the|] [share {share}|{share}
 share]
samba [grant|access|allow]: {user} [->|to|on] {share}
grant {user} {share} [share|access]
= {user} [should|must|has to|needs to|shall] [have|get|be given|be granted|receive] access to
 [the|] [share {share}
|{share} share|{share} folder]
= {user} [should|must|has to|needs to|may|shall] [be able to|] [use|open|access|read|enter|reach
|see] [the|] [share {share}
|{share} share]
= {user} [needs|wants|requires|requested|asks for|is missing|lacks] [access|rights|permission
|permissions] [to|on|for]
 [the|] [share {share}|{share} share|{share} folder]
= {user} [needs|wants|has] to [get into|get at|work with|work on|look into] [the|] [share
 {share}|{share} share]
= [we|I] [need|want|would like] {user} [to access|to have access to|to use|on|to reach|to get
 into] [the|]
 [share {share}|{share} share]
= [share|the share] {share} [should|must|has to|needs to] [be open|be available|be accessible
|open|be unlocked] [to|for]
 {user}
= [the {share} share|share {share}] [should|must|has to|needs to] [allow|let in|admit|include
|permit|welcome] {user}
= {user} [can not|cannot|can't|is not able to] [open|access|see|use|enter|reach] [the|] [share
 {share}|{share} share]
 [, allow it|, give access|, please change that|, grant access|, add permission]
= {user} [is allowed|gets permission|has permission|is permitted] to [use|open|access|enter]
 [the|] [{share} share
|share {share}] [, set it up|, grant it|, configure that|]
= [access|permission|rights] [to|for|on] [the|] [share {share}|{share} share] [for|goes to|is
 for] {user}
= [the files|the data|the documents] [in|on|of] [the|] [share {share}|{share} share] [should
|must] be [open to
|readable for|available to|accessible to] {user}
= can {user} [have|get] access to [the|] [share {share}|{share} share] [?|]
= can {user} [use|be let into|be given|see|read|be added to] [the|] [share {share}|{share} share
|{share} folder] [?|]
[for|to] {user} [open|enable|unlock|allow|add access to] [the|] [share {share}|{share} share]
[on|for] [the|] [share {share}|{share} share] [allow|add|admit|permit|grant access to|let in
|enable|accept] {user}
[extend|expand|widen] [the|] [access|permissions] [of|to|on] [the|] [share {share}|{share}
 share] to {user}
= {user} [works|will work|has to work] [on|with] [the|] [share {share}|{share} share] [, grant
 access|, give access
|, so allow it|, permit that]
[provide|equip|supply] {user} with [access to|rights on|permissions for] [the|] [share {share}
|{share} share]
"""
